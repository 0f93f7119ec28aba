#pragma once

// What lwIP asks of its platform. C, since lwIP's sources include it.

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#ifdef __cplusplus
extern "C" {
#endif

void* sallyport_lwip_malloc(size_t size);
void* sallyport_lwip_calloc(size_t count, size_t size);
void sallyport_lwip_free(void* memory);
uint32_t sallyport_lwip_random(void);
uint32_t sallyport_lwip_initial_sequence(void);
void sallyport_lwip_assert(const char* message, const char* file, int line);

#ifdef __cplusplus
}
#endif

#define LWIP_PLATFORM_DIAG(x) \
  do {                        \
  } while (0)

// lwIP's own assertions hold in sanitized builds, where tests and fuzzers look for one that the
// guest can reach. In others they are not compiled.
#ifdef SALLYPORT_LWIP_CHECKS
#define LWIP_PLATFORM_ASSERT(message) sallyport_lwip_assert(message, __FILE__, __LINE__)
#else
#define LWIP_NOASSERT 1
#define LWIP_PLATFORM_ASSERT(message) ((void)0)
#endif
