// Any bytes as an HTTP/2 server's, behind its SETTINGS: an answer that is complete, read whole as
// well as in pieces, is the same. Which answers are may depend on the pieces: a server that breaks
// the rules for one exchange is cut off for all of them if it goes on before it is told.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "tests/mitm/http2/upstream_wire.h"

namespace {

/// Whether the transcript of one exchange says that its answer is complete.
bool Complete(const std::string& text) {
  return text.find("\nend") != std::string::npos;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sallyport::mitm::http2;
  if (size < 2 || size > 20'000) return 0;
  const std::vector<std::string> methods{(data[1] & 1) != 0 ? "HEAD" : "GET", "POST"};
  const std::string bytes =
      Frame(4, 0, 0, "") + std::string(reinterpret_cast<const char*>(data) + 2, size - 2);
  const size_t cut = data[0] % bytes.size();
  const std::string_view view = bytes;
  const std::vector<std::string> whole = ReadEach({view}, methods);
  const std::vector<std::string> pieces =
      ReadEach({view.substr(0, cut), view.substr(cut)}, methods, 7);
  for (size_t i = 0; i < methods.size(); ++i) {
    SALLYPORT_CHECK(!Complete(whole[i]) || !Complete(pieces[i]) || whole[i] == pieces[i]);
  }
  return 0;
}
