#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mitm/http2/guest_codec.h"
#include "tests/mitm/conversation.h"

// What the codec made of a guest's bytes, written down as text that tests compare.

namespace sallyport::mitm::http2 {

/// Answers every request with 200 and its own body, or with the status of its error; bodies are
/// read as they come. The clock stands still.
class Conversation final : private GuestCodec::Listener {
 public:
  explicit Conversation(size_t max_read = 1000)
      : max_read_(max_read), codec_("https", Clock::time_point(), *this) {}

  void Feed(std::string_view bytes) {
    codec_.Receive(bytes, now);
    do {
      for (const int32_t id : codec_.TakeReady()) {
        if (GuestStream* stream = codec_.Find(id)) Serve(*stream);
      }
      for (std::string_view out = codec_.Send(); !out.empty(); out = codec_.Send())
        sent.append(out);
    } while (codec_.has_ready());
  }

  /// A line for each stream, and what ended the connection.
  std::string Text() {
    std::string text;
    for (auto& [id, seen] : seen_)
      text += std::to_string(id) + ": " + seen.text + seen.Body() + "\n";
    for (size_t at = 0; at + 9 <= sent.size();) {
      const auto byte = [&](size_t i) { return static_cast<uint8_t>(sent[at + i]); };
      const size_t size = size_t{byte(0)} << 16 | size_t{byte(1)} << 8 | byte(2);
      if (byte(3) == NGHTTP2_RST_STREAM) {
        text += "reset " + std::to_string(byte(8)) + " " + std::string(ErrorName(byte(12))) + "\n";
      }
      if (byte(3) == NGHTTP2_GOAWAY) text += "goaway " + std::string(ErrorName(byte(16))) + "\n";
      at += 9 + size;
    }
    if (codec_.fault()) text += codec_.fault()->detail + "\n";
    return text;
  }

  GuestCodec& codec() { return codec_; }
  bool over() const { return codec_.over(); }
  std::string sent;
  Clock::time_point now;

 private:
  struct Seen {
    std::string text;
    std::string body;
    std::string Body() const { return body.empty() ? "" : " [" + body + "]"; }
    bool answered = false;
    std::string unsent = {};  // Of the answer's body.
    bool ended = false;
  };

  void OnResume(GuestStream&) override {}
  void OnLingering(GuestStream&) override {}
  void OnClosed(GuestStream&) override {}

  void Serve(GuestStream& stream) {
    const auto [place, fresh] = seen_.try_emplace(stream.id());
    Seen& seen = place->second;
    if (fresh) Begin(stream, seen);
    while (!seen.ended) {
      const MessageEvent event = stream.ReadBody(max_read_);
      switch (event.kind) {
        case MessageEvent::Kind::kBody:
          seen.body.append(event.piece);
          continue;
        case MessageEvent::Kind::kEnd:
          seen.ended = true;
          seen.text += " end";
          Answer(stream, seen, 200, seen.body);
          break;
        case MessageEvent::Kind::kError:
          seen.ended = true;
          seen.text += " " + std::to_string(stream.error().status) + " " + stream.error().detail;
          Answer(stream, seen, stream.error().status, "");
          break;
        default:
          return;
      }
    }
    Write(stream, seen);
  }

  static void Begin(GuestStream& stream, Seen& seen) {
    const Request& request = stream.request();
    if (stream.head_error()) return;
    seen.text = request.head.method + " " + request.head.scheme + " " + request.head.authority +
                " " + request.head.Target() + (request.expects_continue ? " expects" : "") +
                " body:" + http1::Describe(request.body) + http1::Describe(request.head.headers);
  }

  static void Answer(GuestStream& stream, Seen& seen, int status, const std::string& body) {
    seen.unsent = body;
    stream.WriteHead({.status = status, .reason = {}, .headers = {}},
                     {BodyLength::Kind::kKnown, body.size()});
  }

  static void Write(GuestStream& stream, Seen& seen) {
    if (seen.answered) return;
    while (!seen.unsent.empty()) {
      const size_t room = stream.Room();
      if (room == 0) return;
      stream.WriteBody(std::string_view(seen.unsent).substr(0, room));
      seen.unsent.erase(0, room);
    }
    seen.answered = true;
    stream.WriteEnd({});
  }

  const size_t max_read_;
  GuestCodec codec_;
  std::map<int32_t, Seen> seen_;
};

/// What PIECES are, sent one after the other.
inline std::string Converse(const std::vector<std::string_view>& pieces) {
  Conversation conversation;
  for (const std::string_view piece : pieces) conversation.Feed(piece);
  return conversation.Text();
}

/// Calls CHECK with BYTES cut in two at every STRIDE-th place.
inline void ForEachCut(std::string_view bytes, size_t stride,
                       const std::function<void(const std::vector<std::string_view>&)>& check) {
  for (size_t i = 0; i <= bytes.size(); i += stride) check({bytes.substr(0, i), bytes.substr(i)});
}

}  // namespace sallyport::mitm::http2
