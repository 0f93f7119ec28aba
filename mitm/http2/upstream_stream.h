#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "base/loop.h"
#include "mitm/http2/upstream_response.h"
#include "mitm/message.h"

namespace sallyport::mitm::http2 {

class UpstreamConnection;

/// One exchange on an HTTP/2 connection to a server, which it shares with others. Destroyed before
/// both messages are complete, it resets its stream; the connection goes on.
///
/// What the server sends waits here until Read(), at most the stream's flow-control window; what
/// is sent waits here until that of the server opens, at most kUpstreamStreamOutput.
class UpstreamStream final : public UpstreamSide {
 public:
  /// Only UpstreamConnection::Open() makes one. Both outlive it.
  UpstreamStream(UpstreamConnection& connection, Listener& listener);
  ~UpstreamStream() override;

  void WriteHead(const RequestHead& head, std::string_view host, BodyLength body) override;
  size_t Room() override;
  void WriteBody(std::string_view piece) override;
  void WriteEnd(const Headers& trailers) override;
  void Flush() override;

  MessageEvent Read(size_t max) override;
  Response& response() override { return current_; }
  const Headers& trailers() override { return reader_.trailers(); }
  /// After kBroken, too.
  const ProtocolError& error() const override { return error_; }
  bool may_be_stale() const override;
  bool unprocessed() const override { return over_ == Over::kBroken && unprocessed_ && !received_; }
  void Finish() override;

 private:
  friend class UpstreamConnection;
  friend struct UpstreamCallbacks;

  enum class Over { kNo, kEnded, kBroken, kInvalid };

  // The connection's calls; none of them calls back.
  const char* OnField(std::string_view name, std::string_view value);
  const char* OnHead(ResponseReader::Stream stream);
  void OnData(std::string_view bytes) { input_.append(bytes); }
  void OnEnd();
  void OnClosed(uint32_t code);
  /// The response will not be completed, for a reason that the guest may read.
  void Fail(Over over, std::string detail);

  std::string_view unsent() const { return std::string_view(output_).substr(sent_); }
  void Sent(size_t size);
  void DropRead();

  UpstreamConnection& connection_;
  Listener& listener_;
  int32_t id_ = 0;  // 0 before WriteHead().

  std::string output_;  // Of the request's body, from sent_ on still to be sent.
  size_t sent_ = 0;
  bool output_ended_ = false;
  Headers output_trailers_;  // Behind it.
  bool wants_room_ = false;

  ResponseReader reader_;
  std::deque<Response> heads_;  // Not yet read.
  Response current_;
  std::string input_;  // Of the response's body, from taken_ on still to be read.
  size_t taken_ = 0;
  size_t lent_ = 0;  // Of the latest Read(), still to be dropped.
  int interim_ = 0;

  Over over_ = Over::kNo;  // What follows the input.
  ProtocolError error_{502, {}};
  Clock::time_point begun_at_;
  bool closed_ = false;       // nghttp2 knows the stream no more.
  bool received_ = false;     // Anything of the response.
  bool unprocessed_ = false;  // The server has not seen the request, or said so.
  bool reset_by_server_ = false;
  bool on_used_connection_ = false;  // One that had answered before.
  bool told_ = false;                // The listener is about to be told.
};

}  // namespace sallyport::mitm::http2
