// What a hostile peer sends: a stream of frames, cut where the input's first byte says, with a
// message in each. Any way of cutting gives the same frames, and what was decoded reads back as it
// was.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "guest/protocol/frame.h"
#include "guest/protocol/message_assembler.h"
#include "guest/protocol/messages.h"

namespace sallyport::guest {
namespace {

struct Decoded {
  std::string frames;  // Encoded again.
  bool broken = false;
};

template <class Message>
void CheckRoundTrip(std::string_view payload) {
  const auto message = Message::Decode(payload);
  if (!message) return;
  const std::string bytes = message->Encode();
  const auto again = Message::Decode(bytes);
  SALLYPORT_CHECK(again.has_value());
  SALLYPORT_CHECK(again->Encode() == bytes);
}

void DecodeAll(std::string_view payload) {
  CheckRoundTrip<Hello>(payload);
  CheckRoundTrip<Trust>(payload);
  CheckRoundTrip<Exec>(payload);
  CheckRoundTrip<Exit>(payload);
  CheckRoundTrip<SignalRequest>(payload);
  CheckRoundTrip<Resize>(payload);
  CheckRoundTrip<Dial>(payload);
  CheckRoundTrip<ErrorMessage>(payload);
}

Decoded Decode(std::string_view input, size_t piece) {
  FrameDecoder decoder;
  MessageAssembler assembler;
  Decoded decoded;
  while (!input.empty()) {
    decoder.Feed(input.substr(0, piece));
    input.remove_prefix(std::min(piece, input.size()));
    for (;;) {
      auto frame = decoder.Next();
      decoded.broken = !frame;
      if (!frame) return decoded;
      if (!*frame) break;
      AppendFrame(decoded.frames, **frame);
      auto message = assembler.Add(**std::move(frame));
      if (!message) return decoded;
      if (*message) DecodeAll((*message)->payload);
    }
  }
  return decoded;
}

}  // namespace
}  // namespace sallyport::guest

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sallyport::guest;
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Decoded whole = Decode(input, size);
  const Decoded pieces = Decode(input, size_t{1} + data[0]);
  SALLYPORT_CHECK(whole.frames == pieces.frames);
  SALLYPORT_CHECK(whole.broken == pieces.broken);
  SALLYPORT_CHECK(input.starts_with(whole.frames));
  DecodeAll(input);
  return 0;
}
