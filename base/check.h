#pragma once

#include <cstdio>
#include <cstdlib>

/// Ends the process when CONDITION is false. For our own bugs only, and on in
/// release builds: input from the guest, a peer or a file never reaches it.
#define SALLYPORT_CHECK(condition)                                                         \
  do {                                                                                     \
    if (!(condition)) {                                                                    \
      std::fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition);   \
      std::abort();                                                                        \
    }                                                                                      \
  } while (false)
