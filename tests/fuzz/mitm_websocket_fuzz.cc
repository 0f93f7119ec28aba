// Any bytes as the frames of one side: through a pipe in pieces, messages mean what they mean when
// they are read directly, and whatever goes out is well-formed.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/check.h"
#include "mitm/websocket/message_pipe.h"
#include "tests/mitm/websocket/frames.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sallyport::mitm::websocket;
  if (size < 2 || size > 100'000) return 0;
  const Sender sender = (data[0] & 1) != 0 ? Sender::kClient : Sender::kServer;
  const size_t cut = 1 + data[1];
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  Messages direct(sender);
  direct.Feed(bytes);

  const auto none = [](Opcode) { return std::unique_ptr<sallyport::ByteFilter>(); };
  MessagePipe pipe(sender, none, [] { return kTestMask; });
  Messages piped(sender);
  bool failed = false;
  for (size_t at = 0; at < bytes.size() && !failed; at += cut) {
    for (std::string_view piece = bytes.substr(at, cut); !piece.empty() && !failed;) {
      std::string out;
      failed = !pipe.Feed(piece, out);
      piped.Feed(out);
    }
  }
  SALLYPORT_CHECK(piped.text.find("error ") == std::string::npos ||
                  direct.text.find("error ") != std::string::npos);
  // Nothing but an error, or what follows a close frame, is missing.
  SALLYPORT_CHECK(std::string_view(direct.text).starts_with(piped.text));
  return 0;
}
