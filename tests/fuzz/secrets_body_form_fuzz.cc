// A form's body; see secrets_body.h for what the input spells.

#include "tests/fuzz/secrets_body.h"

using namespace sallyport;
using namespace sallyport::secrets;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const FuzzBody format{SecretSpec::Body::kForm, "application/x-www-form-urlencoded", "%%%02X",
                        "a+%22value%22%2Fwith%5C+all%2Bof%3Dit+%26+more", "8%2Fbytes%2B"};
  return FuzzBodySubstituter(format, data, size, NaiveForm);
}
