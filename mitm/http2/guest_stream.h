#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "mitm/http2/fields.h"
#include "mitm/message.h"

namespace sallyport::mitm::http2 {

class GuestCodec;

/// One request and its answer on a guest's HTTP/2 connection, as the exchange sees them. Keeps what
/// has arrived of the one body until it is read, which opens the guest's window again, and of the
/// other what the guest has no window for. Belongs to its GuestCodec.
class GuestStream final : public GuestSide {
 public:
  int32_t id() const { return id_; }
  /// The head is complete; take it. Before, there is nothing to do for the stream.
  bool begun() const { return begun_; }
  Request& request() { return fields_.request(); }
  /// Set when the head is no request.
  const std::optional<ProtocolError>& head_error() const { return head_error_; }
  /// All of the answer is sent, and what still comes of the request is thrown away.
  bool lingers() const { return lingers_; }

  MessageEvent ReadBody(size_t max) override;
  const Headers& trailers() const override { return request_trailers_; }
  const ProtocolError& error() const override { return *body_error_; }
  size_t Room() override;
  void WriteInterim(const ResponseHead& head) override;
  void WriteHead(const ResponseHead& head, BodyLength body) override;
  void WriteBody(std::string_view piece) override;
  void WriteEnd(const Headers& trailers) override;
  void Break() override;
  void Resume() override;

 private:
  friend class GuestCodec;
  friend struct GuestCodecCallbacks;

  GuestStream(GuestCodec& codec, int32_t id, std::string_view scheme)
      : codec_(codec), id_(id), fields_(scheme) {}

  enum class Ended { kNo, kYes };
  void OnField(std::string_view name, std::string_view value);
  void OnHead(Ended ended);
  void OnData(std::string_view bytes);
  void OnEnd();
  void FailBody(const char* detail);
  /// Forgets what was not read; how many bytes that were.
  size_t DropInput();
  size_t unread() const { return input_.size() - read_; }
  size_t unsent() const { return output_.size() - sent_; }
  size_t TakeOutput(uint8_t* to, size_t max);

  GuestCodec& codec_;
  const int32_t id_;

  // The request.
  RequestFields fields_;
  bool begun_ = false;
  bool to_head_ = false;
  std::optional<ProtocolError> head_error_;
  std::optional<ProtocolError> body_error_;
  std::optional<uint64_t> length_;  // Announced.
  uint64_t received_ = 0;
  size_t trailer_size_ = 0;
  Headers request_trailers_;
  size_t decoded_ = 0;  // Bytes of fields, in the head or the trailers.
  std::string input_;
  size_t read_ = 0;
  bool ended_ = false;  // END_STREAM was received.

  // The answer. Its head is handed on when the codec sends next, so that a head without anything
  // behind it can end the stream.
  std::optional<ResponseHead> head_;
  BodyLength body_;
  bool bodiless_ = false;
  std::string output_;
  size_t sent_ = 0;
  bool starved_ = false;  // Room() was none.
  bool complete_ = false;
  Headers trailers_;
  bool lingers_ = false;  // The answer is sent, and the request is not complete.
  bool window_reopened_ = false;  // Since it lingers.

  // In the codec's lists.
  bool ready_ = false;
  bool unsettled_ = false;
};

}  // namespace sallyport::mitm::http2
