#pragma once

#include <memory>
#include <optional>

#include "mitm/http1/response_parser.h"
#include "mitm/message.h"
#include "mitm/stream_buffers.h"
#include "mitm/upstream_pool.h"

namespace sallyport::mitm::http1 {

/// One exchange on an HTTP/1.1 connection to a server. Destroyed before Finish(), it resets the
/// connection: nobody shall take a request that was cut off for a complete one.
class Upstream final : public UpstreamSide, private Stream::Listener {
 public:
  /// POOL and LISTENER outlive it.
  Upstream(UpstreamPool& pool, std::unique_ptr<UpstreamConnection> connection,
           UpstreamSide::Listener& listener);
  ~Upstream() override;

  void WriteHead(const RequestHead& head, std::string_view host, BodyLength body) override;
  size_t Room() override;
  void WriteBody(std::string_view piece) override;
  void WriteEnd(const Headers& trailers) override;
  void Flush() override;

  MessageEvent Read(size_t max) override;
  Response& response() override { return parser_.response(); }
  std::optional<ByteChannel> channel() override {
    return ByteChannel{&input_, &output_, connection_->stream.get(), &write_closed_};
  }
  const Headers& trailers() override { return parser_.trailers(); }
  const ProtocolError& error() const override {
    return broken_.detail.empty() ? parser_.error() : broken_;
  }
  bool may_be_stale() const override { return connection_->reused && !parser_.begun(); }
  void Finish() override;

 private:
  void OnStreamReady() override;

  UpstreamPool& pool_;
  std::unique_ptr<UpstreamConnection> connection_;
  UpstreamSide::Listener& listener_;
  InputBuffer input_;
  OutputBuffer output_;
  ResponseParser parser_;
  ProtocolError broken_;  // Why the connection is, where that is known.
  bool chunked_ = false;
  bool write_closed_ = false;
};

}  // namespace sallyport::mitm::http1
