#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/http_message.h"
#include "mitm/stream_buffers.h"

// The message model that an exchange works on, and the two halves it joins: a request's place on a
// guest connection, and its place on an upstream connection. HTTP/1 and HTTP/2 are codecs below it.

namespace sallyport::mitm {

/// How a message's body is bounded, as far as its head tells.
struct BodyLength {
  enum class Kind {
    kNone,     ///< No body, and nothing said about one.
    kKnown,    ///< `bytes`; an answer to HEAD says so too, and has none.
    kUnknown,  ///< It ends when it ends.
  };
  Kind kind = Kind::kNone;
  uint64_t bytes = 0;

  /// Whether a byte can follow the head.
  bool empty() const { return kind == Kind::kNone || (kind == Kind::kKnown && bytes == 0); }
};

/// A request as a codec read it.
struct Request {
  RequestHead head;
  BodyLength body;
  bool expects_continue = false;
  /// It asks for a WebSocket, with this Sec-WebSocket-Key. HTTP/1.1 only.
  std::optional<std::string> websocket_key = {};
};

/// A response as a codec read it.
struct Response {
  ResponseHead head;
  BodyLength body;

  bool interim() const { return head.status < 200; }
};

/// Input that breaks its protocol, or a limit.
struct ProtocolError {
  int status = 400;    ///< What a server answers to it.
  std::string detail;  ///< One sentence; shows nothing of the input.
  bool not_http = false;  ///< The start line is of another protocol.
};

/// The next thing that a peer sent.
struct MessageEvent {
  enum class Kind {
    kWouldBlock,  ///< Nothing yet.
    kHead,        ///< A head; take it from the codec.
    kBody,        ///< `piece`, good until the next call.
    kEnd,         ///< The message is complete.
    kError,       ///< It breaks its protocol; see the codec's error.
    kBroken,      ///< The connection failed or ended before the message did. The codec's error
                  ///< may say why.
  };
  Kind kind = Kind::kWouldBlock;
  std::string_view piece;
};

/// The guest's half of one exchange. What is written goes out at Flush() at the latest.
class GuestSide {
 public:
  /// The next of the request's body: kBody with at most MAX bytes, or one of the other events but
  /// kHead.
  virtual MessageEvent ReadBody(size_t max) = 0;
  /// After kEnd: the request's trailers. None of them is of framing, routing or the connection.
  virtual const Headers& trailers() const = 0;
  virtual const ProtocolError& error() const = 0;

  /// How much of a body WriteBody() takes now. Heads are always taken.
  virtual size_t Room() = 0;
  /// A 1xx answer. Dropped where the guest's protocol version has none.
  virtual void WriteInterim(const ResponseHead& head) = 0;
  virtual void WriteHead(const ResponseHead& head, BodyLength body) = 0;
  /// PIECE is at most Room() bytes.
  virtual void WriteBody(std::string_view piece) = 0;
  virtual void WriteEnd(const Headers& trailers) = 0;
  /// After WriteHead() with status 101: the connection, until the exchange is over. Nothing where
  /// the guest's protocol version has no such thing; then no request has a `websocket_key`.
  virtual std::optional<ByteChannel> channel() { return std::nullopt; }
  /// The answer can't be completed: the guest must see that it is cut off.
  virtual void Break() = 0;
  /// Asks, from the loop, for the exchange's Pump() to be called and what follows from it.
  virtual void Resume() = 0;

 protected:
  ~GuestSide() = default;
};

/// The upstream's half of one exchange.
class UpstreamSide {
 public:
  /// Told from the loop that Read() or Room() may have more. May destroy the UpstreamSide.
  class Listener {
   public:
    virtual void OnUpstreamReady() = 0;

   protected:
    ~Listener() = default;
  };
  virtual ~UpstreamSide() = default;

  /// Sends the head for HOST, the authority that was checked. No copy of it stays in memory. One
  /// with an Upgrade field asks for that; only then may the response be 101.
  virtual void WriteHead(const RequestHead& head, std::string_view host, BodyLength body) = 0;
  /// How much of a body WriteBody() takes now.
  virtual size_t Room() = 0;
  /// PIECE is at most Room() bytes.
  virtual void WriteBody(std::string_view piece) = 0;
  /// TRAILERS are left out where a body of HTTP/1 has a known length.
  virtual void WriteEnd(const Headers& trailers) = 0;
  virtual void Flush() = 0;

  /// The next of the response; a body's piece has at most MAX bytes.
  virtual MessageEvent Read(size_t max) = 0;
  /// After kHead.
  virtual Response& response() = 0;
  /// After kHead with status 101, which is no interim response then: the connection.
  virtual std::optional<ByteChannel> channel() { return std::nullopt; }
  /// After kEnd.
  virtual const Headers& trailers() = 0;
  virtual const ProtocolError& error() const = 0;

  /// Whether the connection was used before, and has not answered to this request with a byte:
  /// the server may have closed it before it saw the request.
  virtual bool may_be_stale() const = 0;
  /// After kBroken: whether it is certain that the server did nothing with the request.
  virtual bool unprocessed() const { return false; }
  /// The exchange is over, both messages were complete: the connection may serve another.
  virtual void Finish() = 0;
};

}  // namespace sallyport::mitm
