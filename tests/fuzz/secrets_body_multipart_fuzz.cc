// A multipart form, with "b-" as its boundary; see secrets_body.h for what the input spells.

#include "tests/fuzz/secrets_body.h"

using namespace sallyport;
using namespace sallyport::secrets;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const FuzzBody format{SecretSpec::Body::kForm, "multipart/form-data; boundary=b-", nullptr,
                        kFirstValue, kSecondValue};
  return FuzzBodySubstituter(format, data, size, [](const Pairs& pairs, std::string_view body) {
    return NaiveMultipart(pairs, "b-", body);
  });
}
