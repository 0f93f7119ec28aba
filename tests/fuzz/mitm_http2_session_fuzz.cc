// Any frames as a guest's, behind a good preface: whatever they are, all that is taken is bounded,
// all that is sent is whole frames, and a connection that is ended says so with a GOAWAY.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "mitm/limits.h"
#include "tests/mitm/http2/conversation.h"
#include "tests/mitm/http2/frames.h"

namespace {

using sallyport::mitm::http2::Conversation;

/// Checks that SENT is frames; returns whether a GOAWAY is among them.
bool CheckFrames(std::string_view sent) {
  bool goaway = false;
  while (!sent.empty()) {
    SALLYPORT_CHECK(sent.size() >= 9);
    const auto byte = [&sent](size_t i) { return static_cast<uint8_t>(sent[i]); };
    const size_t size = size_t{byte(0)} << 16 | size_t{byte(1)} << 8 | byte(2);
    SALLYPORT_CHECK(size <= 16384 && sent.size() >= 9 + size);
    goaway = goaway || byte(3) == sallyport::mitm::http2::kGoawayFrame;
    sent.remove_prefix(9 + size);
  }
  return goaway;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1 || size > 100'000) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t piece = data[0] == 0 ? size : data[0];
  Conversation conversation(piece * 7);
  conversation.Feed(sallyport::mitm::http2::Preface());
  while (!bytes.empty()) {
    const size_t taken = std::min(piece, bytes.size());
    conversation.Feed(bytes.substr(0, taken));
    bytes.remove_prefix(taken);
    for (int32_t id = 1; id < 16; id += 2) {
      sallyport::mitm::http2::GuestStream* stream = conversation.codec().Find(id);
      if (stream != nullptr) SALLYPORT_CHECK(stream->Room() <= sallyport::mitm::kStreamOutput);
    }
  }
  SALLYPORT_CHECK(CheckFrames(conversation.sent) || !conversation.codec().fault());
  SALLYPORT_CHECK(!conversation.Text().empty() || !conversation.codec().fault());
  return 0;
}
