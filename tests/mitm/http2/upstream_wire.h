#pragma once

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/loop.h"
#include "mitm/http2/upstream_connection.h"
#include "tests/fakes/manual_clock.h"
#include "tests/fakes/memory_stream.h"
#include "tests/mitm/conversation.h"

// An UpstreamConnection over memory, what is asked on it, and the other end of its wire.

namespace sallyport::mitm::http2 {

/// One exchange; reads as soon as there is something, and writes down what it read.
class Asking final : public UpstreamSide::Listener {
 public:
  Asking(UpstreamConnection& connection, const RequestHead& head, BodyLength length = {},
         std::string_view host = "api.test")
      : side(connection.Open(*this)) {
    side->WriteHead(head, host, length);
    side->Flush();
  }

  void OnUpstreamReady() override {
    ++told;
    if (reading) Read();
  }
  void Read(size_t max = 1000) {
    while (side && !over) {
      const MessageEvent event = side->Read(max);
      switch (event.kind) {
        case MessageEvent::Kind::kWouldBlock:
          return;
        case MessageEvent::Kind::kHead:
          Line(std::to_string(side->response().head.status) +
               " body:" + http1::Describe(side->response().body) +
               http1::Describe(side->response().head.headers));
          break;
        case MessageEvent::Kind::kBody:
          body += event.piece;
          transcript_.Body(one_line ? OneLine(event.piece) : std::string(event.piece));
          break;
        case MessageEvent::Kind::kEnd:
          End("end" + http1::Describe(side->trailers()));
          side->Finish();
          break;
        case MessageEvent::Kind::kError:
          End("error " + side->error().detail);
          break;
        case MessageEvent::Kind::kBroken:
          End("broken " + side->error().detail + (side->may_be_stale() ? " stale" : "") +
              (side->unprocessed() ? " unprocessed" : ""));
          break;
      }
    }
  }
  /// All that was read, a line for each event.
  std::string Text() { return text_ += transcript_.Take(); }

  std::unique_ptr<UpstreamSide> side;
  std::string body;
  bool reading = true;
  bool one_line = false;  ///< Line ends of a body are written down as '?'.
  bool over = false;
  int told = 0;

 private:
  static std::string OneLine(std::string_view piece) {
    std::string text(piece);
    std::replace(text.begin(), text.end(), '\n', '?');
    return text;
  }
  void Line(const std::string& line) { transcript_.Line(line); }
  void End(const std::string& line) {
    Line(line);
    over = true;
  }
  http1::Transcript transcript_;
  std::string text_;
};

struct Wire final : UpstreamConnection::Owner {
  explicit Wire(MemoryStream::Options options = {.capacity = 1 << 20})
      : loop(std::move(*Loop::Create(&clock))) {
    auto ends = MemoryStream::Make(*loop, options);
    peer = std::move(ends.b);
    connection = std::make_unique<UpstreamConnection>(
        *loop, std::move(ends.a), Endpoint{IpAddress::V4(127, 0, 0, 1), 443}, *this);
  }

  void OnUpstreamChanged() override { ++changed; }

  /// Enough turns for everything that does not wait for the peer or for a timer.
  void Settle(int turns = 6) {
    for (int i = 0; i < turns; ++i) {
      const auto tick = loop->Post([] {});
      if (!loop->RunOnce()) return;
    }
  }
  /// What the gate has sent since last time.
  std::string TakeSent() {
    std::string bytes;
    uint8_t block[65536];
    for (;;) {
      const ReadResult result = peer->Read(block);
      if (result.kind != ReadResult::Kind::kBytes) return bytes;
      bytes.append(reinterpret_cast<char*>(block), result.bytes);
    }
  }

  ManualClock clock;
  std::unique_ptr<Loop> loop;
  std::unique_ptr<Stream> peer;
  std::unique_ptr<UpstreamConnection> connection;
  int changed = 0;
};

inline RequestHead Head(const std::string& method = "GET", const std::string& path = "/") {
  RequestHead head;
  head.method = method;
  head.scheme = "https";
  head.authority = "api.test";
  head.path = path;
  return head;
}

/// A frame by hand.
inline std::string Frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  const auto byte = [](size_t value) { return static_cast<char>(value & 0xff); };
  std::string frame{byte(payload.size() >> 16),
                    byte(payload.size() >> 8),
                    byte(payload.size()),
                    byte(type),
                    byte(flags),
                    byte(stream >> 24),
                    byte(stream >> 16),
                    byte(stream >> 8),
                    byte(stream)};
  return frame.append(payload);
}

/// A field as HPACK's plainest form: a literal without indexing, without Huffman; short.
inline std::string Literal(std::string_view name, std::string_view value) {
  std::string bytes(1, '\0');
  const auto text = [&bytes](std::string_view part) {
    if (part.size() < 127) {
      bytes += static_cast<char>(part.size());
    } else {  // RFC 7541, 5.1, in up to three bytes.
      bytes += '\x7f';
      size_t rest = part.size() - 127;
      for (; rest >= 128; rest >>= 7) bytes += static_cast<char>(0x80 | (rest & 0x7f));
      bytes += static_cast<char>(rest);
    }
    bytes.append(part);
  };
  text(name);
  text(value);
  return bytes;
}

/// What comes of each of the requests with METHODS on one connection when the server sends PIECES,
/// and ends.
inline std::vector<std::string> ReadEach(const std::vector<std::string_view>& pieces,
                                         const std::vector<std::string>& methods,
                                         size_t max_body = 1000) {
  Wire wire;
  std::vector<std::unique_ptr<Asking>> asked;
  for (const std::string& method : methods) {
    asked.push_back(std::make_unique<Asking>(*wire.connection, Head(method)));
    asked.back()->reading = false;
    asked.back()->one_line = true;
  }
  wire.Settle(2);
  const auto read = [&] {
    wire.Settle(4);
    for (const auto& one : asked) one->Read(max_body);
    wire.TakeSent();
  };
  for (const std::string_view piece : pieces) {
    for (std::string_view rest = piece; !rest.empty();) {
      rest.remove_prefix(wire.peer->Write(rest));
      read();
    }
  }
  wire.peer->CloseWrite();
  read();
  std::vector<std::string> texts;
  for (size_t i = 0; i < asked.size(); ++i) {
    texts.push_back(methods[i] + ":\n" + asked[i]->Text());
  }
  asked.clear();
  return texts;
}

inline std::string ReadAnswers(const std::vector<std::string_view>& pieces,
                               const std::vector<std::string>& methods = {"GET"},
                               size_t max_body = 1000) {
  std::string text;
  for (const std::string& one : ReadEach(pieces, methods, max_body)) text += one;
  return text;
}

constexpr uint8_t kEndStream = NGHTTP2_FLAG_END_STREAM;
constexpr uint8_t kEndHeaders = NGHTTP2_FLAG_END_HEADERS;

/// Frames of a server, and the beginning of a head.
inline std::string Settings() {
  return Frame(NGHTTP2_SETTINGS, 0, 0, "");
}
inline std::string Fields(uint8_t flags, const std::string& block, uint32_t stream = 1) {
  return Frame(NGHTTP2_HEADERS, kEndHeaders | flags, stream, block);
}
inline std::string Ok() {
  return Literal(":status", "200");
}

}  // namespace sallyport::mitm::http2
