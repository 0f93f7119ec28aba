// A JSON body; see secrets_body.h for what the input spells.

#include "tests/fuzz/secrets_body.h"

using namespace sallyport;
using namespace sallyport::secrets;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const FuzzBody format{SecretSpec::Body::kJson, "application/json", "\\u%04x",
                        "a \\\"value\\\"/with\\\\ all+of=it & more", kSecondValue};
  return FuzzBodySubstituter(format, data, size, NaiveJson);
}
