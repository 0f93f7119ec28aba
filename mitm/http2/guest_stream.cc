#include "mitm/http2/guest_stream.h"

#include <algorithm>
#include <cstring>

#include "mitm/http1/fields.h"
#include "mitm/http2/guest_codec.h"
#include "mitm/limits.h"

namespace sallyport::mitm::http2 {

using Kind = MessageEvent::Kind;

void GuestStream::OnField(std::string_view name, std::string_view value) {
  decoded_ += name.size() + value.size() + 32;
  if (!begun_) return fields_.Add(name, value);
  trailer_size_ += name.size() + value.size();
  if (trailer_size_ > kMaxTrailerBytes) return FailBody("trailers larger than 8 KiB");
  if (auto error = CheckTrailer(name, value); error && !body_error_) body_error_ = error;
  if (!body_error_) request_trailers_.Add(name, value);
}

/// A head is complete: the request's, or, behind its body, that of its trailers.
void GuestStream::OnHead(Ended ended) {
  decoded_ = 0;
  if (begun_) {
    if (ended == Ended::kNo) FailBody("a second head inside of a request");
    if (!body_error_) body_error_ = http1::CheckRequestTrailers(request_trailers_);
  } else {
    head_error_ = fields_.Finish(ended == Ended::kYes ? RequestFields::Body::kNone
                                                      : RequestFields::Body::kFollows);
    begun_ = true;
    const Request& request = fields_.request();
    to_head_ = request.head.method == "HEAD";
    if (request.body.kind == BodyLength::Kind::kKnown) length_ = request.body.bytes;
    if (head_error_) body_error_ = head_error_;
  }
  if (ended == Ended::kYes) OnEnd();
}

void GuestStream::OnData(std::string_view bytes) {
  received_ += bytes.size();
  if (length_ && received_ > *length_) FailBody("more data than Content-Length says");
  if (read_ > 0) {
    input_.erase(0, read_);
    read_ = 0;
  }
  input_.append(bytes);
}

void GuestStream::OnEnd() {
  ended_ = true;
  if (length_ && received_ < *length_) FailBody("less data than Content-Length says");
}

void GuestStream::FailBody(const char* detail) {
  if (!body_error_) body_error_ = ProtocolError{400, detail};
}

MessageEvent GuestStream::ReadBody(size_t max) {
  if (body_error_) return {Kind::kError, {}};
  if (unread() == 0) {
    if (ended_) return {Kind::kEnd, {}};
    return {};
  }
  const std::string_view piece = std::string_view(input_).substr(read_, max);
  if (piece.empty()) return {};
  read_ += piece.size();
  codec_.OpenWindow(*this, piece.size());
  return {Kind::kBody, piece};
}

size_t GuestStream::DropInput() {
  const size_t dropped = unread();
  std::string().swap(input_);
  read_ = 0;
  return dropped;
}

size_t GuestStream::Room() {
  if (bodiless_) return kStreamOutput;
  const size_t room = kStreamOutput - unsent();
  if (room >= kMinRoom) return room;
  starved_ = true;
  return 0;
}

void GuestStream::WriteInterim(const ResponseHead& head) {
  codec_.SubmitInterim(*this, head);
}

void GuestStream::WriteHead(const ResponseHead& head, BodyLength body) {
  bodiless_ = to_head_ || head.status == 204 || head.status == 304;
  head_ = head;
  body_ = body;
  codec_.Settle(*this);
}

void GuestStream::WriteBody(std::string_view piece) {
  if (bodiless_) return;
  if (sent_ == output_.size()) {
    output_.clear();
    sent_ = 0;
  }
  output_.append(piece);
  codec_.Settle(*this);
}

void GuestStream::WriteEnd(const Headers& trailers) {
  complete_ = true;
  if (!bodiless_) trailers_ = trailers;
  codec_.Settle(*this);
}

void GuestStream::Break() {
  codec_.Reset(*this, NGHTTP2_INTERNAL_ERROR);
}

void GuestStream::Resume() {
  codec_.Resume(*this);
}

size_t GuestStream::TakeOutput(uint8_t* to, size_t max) {
  const size_t size = std::min(max, unsent());
  if (size > 0) std::memcpy(to, output_.data() + sent_, size);
  sent_ += size;
  if (sent_ == output_.size()) {
    std::string().swap(output_);
    sent_ = 0;
  }
  return size;
}

}  // namespace sallyport::mitm::http2
