#include "mitm/http1/upstream.h"

#include <string>
#include <utility>

#include "mitm/http1/writer.h"
#include "mitm/limits.h"
#include "mitm/tls_stream.h"
#include "secrets/secret.h"

namespace sallyport::mitm::http1 {
namespace {

/// At least as long as the head written out, so that a string reserved for it never grows and
/// leaves a copy behind.
size_t SizeBound(const RequestHead& head, std::string_view host) {
  size_t size = 256 + head.method.size() + head.path.size() + host.size() +
                (head.query ? head.query->size() : 0);
  for (const HeaderField& field : head.headers.fields()) {
    size += field.name.size() + field.value.size() + 4;
  }
  return size;
}

}  // namespace

Upstream::Upstream(UpstreamPool& pool, std::unique_ptr<UpstreamConnection> connection,
                   UpstreamSide::Listener& listener)
    : pool_(pool),
      connection_(std::move(connection)),
      listener_(listener),
      input_(pool.blocks()),
      output_(*connection_->stream) {
  connection_->stream->SetListener(this);
}

Upstream::~Upstream() {
  if (!connection_) return;
  connection_->stream->SetListener(nullptr);
  connection_->stream->Abort();
}

void Upstream::WriteHead(const RequestHead& head, std::string_view host, BodyLength body) {
  using Upgrade = ResponseParser::Upgrade;
  parser_.Begin(head.method,
                head.headers.Find("upgrade") != nullptr ? Upgrade::kWebSocket : Upgrade::kNone);
  chunked_ = body.kind == BodyLength::Kind::kUnknown;
  std::string bytes;
  bytes.reserve(SizeBound(head, host));
  AppendRequestHead(head, host, body, bytes);
  output_.Write(bytes);
  secrets::WipeBytes(bytes.data(), bytes.size());
}

size_t Upstream::Room() {
  const size_t room = output_.Room();
  return room >= kMinRoom ? room - kChunkOverhead : 0;
}

void Upstream::WriteBody(std::string_view piece) {
  if (!chunked_) return output_.Write(piece);
  char buffer[kChunkOverhead];
  output_.Write(ChunkStart(piece.size(), buffer));
  output_.Write(piece);
  output_.Write(kChunkEnd);
}

void Upstream::WriteEnd(const Headers& trailers) {
  if (!chunked_) return;
  std::string bytes;
  AppendLastChunk(trailers, bytes);
  output_.Write(bytes);
}

void Upstream::Flush() {
  output_.Drain();
  connection_->stream->Flush();
}

MessageEvent Upstream::Read(size_t max) {
  for (;;) {
    const MessageEvent event = parser_.Next(input_.rest(), max);
    if (event.kind != MessageEvent::Kind::kWouldBlock) return event;
    switch (input_.Fill(*connection_->stream)) {
      case ReadResult::Kind::kBytes:
        break;
      case ReadResult::Kind::kWouldBlock:
        input_.Shrink();
        return {};
      case ReadResult::Kind::kEnd:
        return parser_.ConnectionEnded();
      case ReadResult::Kind::kBroken:
        broken_.detail = FinalAlert(*connection_->stream);
        return {MessageEvent::Kind::kBroken, {}};
    }
  }
}

void Upstream::Finish() {
  connection_->stream->SetListener(nullptr);
  // Bytes behind the response belong to nothing that was asked for.
  if (parser_.keep_alive() && input_.empty() && output_.Drain()) {
    pool_.PutBack(std::move(connection_));
  }
  connection_.reset();
}

void Upstream::OnStreamReady() {
  output_.Drain();
  listener_.OnUpstreamReady();  // May destroy this.
}

}  // namespace sallyport::mitm::http1
