#include "mitm/http2/upstream_stream.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <utility>

#include "mitm/http2/upstream_connection.h"
#include "mitm/limits.h"
#include "secrets/secret.h"

namespace sallyport::mitm::http2 {

using Kind = MessageEvent::Kind;

UpstreamStream::UpstreamStream(UpstreamConnection& connection, Listener& listener)
    : connection_(connection), listener_(listener) {}

UpstreamStream::~UpstreamStream() {
  connection_.Leave(*this);
  secrets::WipeString(output_);
}

void UpstreamStream::WriteHead(const RequestHead& head, std::string_view host, BodyLength body) {
  reader_.Begin(head.method);
  connection_.Submit(*this, head, host, body);
}

size_t UpstreamStream::Room() {
  const bool broken = over_ == Over::kBroken || over_ == Over::kInvalid;
  if (closed_ || broken || output_ended_) return 0;
  const size_t room = kUpstreamStreamOutput - unsent().size();
  wants_room_ = room < kMinRoom;
  return wants_room_ ? 0 : room;
}

void UpstreamStream::WriteBody(std::string_view piece) {
  // A string that grows by itself would leave copies of what it held behind.
  if (output_.capacity() < kUpstreamStreamOutput) output_.reserve(kUpstreamStreamOutput);
  output_.erase(0, std::exchange(sent_, 0));
  output_.append(piece);
  connection_.Resume(*this);
}

void UpstreamStream::WriteEnd(const Headers& trailers) {
  output_ended_ = true;
  output_trailers_ = trailers;
  connection_.Resume(*this);
}

/// Small messages of several exchanges leave together, at the end of the turn.
void UpstreamStream::Flush() {
  if (unsent().size() >= kInputBlock) connection_.Send();
}

void UpstreamStream::Sent(size_t size) {
  sent_ += size;
  if (sent_ < output_.size()) return;
  secrets::WipeString(output_);
  sent_ = 0;
}

MessageEvent UpstreamStream::Read(size_t max) {
  DropRead();
  if (!heads_.empty()) {
    current_ = std::move(heads_.front());
    heads_.pop_front();
    return {Kind::kHead, {}};
  }
  if (taken_ < input_.size()) {
    lent_ = std::min(max, input_.size() - taken_);
    return {Kind::kBody, std::string_view(input_).substr(taken_, lent_)};
  }
  switch (over_) {
    case Over::kNo:
      return {};
    case Over::kEnded:
      return {Kind::kEnd, {}};
    case Over::kBroken:
      return {Kind::kBroken, {}};
    case Over::kInvalid:
      break;
  }
  return {Kind::kError, {}};
}

/// What the latest Read() lent was used: the server may send as much again.
void UpstreamStream::DropRead() {
  if (lent_ == 0) return;
  connection_.Consume(*this, lent_);
  taken_ += std::exchange(lent_, 0);
  if (taken_ == input_.size()) {
    std::string().swap(input_);
    taken_ = 0;
  } else if (taken_ > input_.size() / 2) {
    input_.erase(0, std::exchange(taken_, 0));
  }
}

/// The server may have closed the connection before it saw the request.
bool UpstreamStream::may_be_stale() const {
  if (over_ != Over::kBroken || received_) return false;
  return unprocessed_ || (on_used_connection_ && !reset_by_server_);
}

/// The stream leaves its connection when this is destroyed.
void UpstreamStream::Finish() {}

const char* UpstreamStream::OnField(std::string_view name, std::string_view value) {
  received_ = true;
  return reader_.Field(name, value);
}

const char* UpstreamStream::OnHead(ResponseReader::Stream stream) {
  switch (reader_.End(stream)) {
    case ResponseReader::Block::kTrailers:
      return nullptr;
    case ResponseReader::Block::kInterim:
      if (++interim_ > kMaxInterimResponses) return "it never becomes a final one";
      break;
    case ResponseReader::Block::kFinal:
      break;
  }
  heads_.push_back(std::move(reader_.response()));
  return nullptr;
}

void UpstreamStream::OnEnd() {
  if (over_ == Over::kNo) over_ = Over::kEnded;
}

void UpstreamStream::OnClosed(uint32_t code) {
  closed_ = true;
  const std::string name = nghttp2_http2_strerror(code);
  if (code == NGHTTP2_REFUSED_STREAM) {
    unprocessed_ = true;
    Fail(Over::kBroken, "the server refused to take the request (" + name + ")");
  } else if (reset_by_server_) {
    Fail(Over::kBroken, "the server reset the request (" + name + ")");
  } else {
    Fail(Over::kInvalid, "it breaks the rules of HTTP/2 (" + name + ")");
  }
}

void UpstreamStream::Fail(Over over, std::string detail) {
  if (over_ != Over::kNo) return;
  over_ = over;
  error_.detail = std::move(detail);
}

}  // namespace sallyport::mitm::http2
