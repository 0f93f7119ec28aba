#include "mitm/websocket/frame.h"

#include <algorithm>
#include <cstddef>

namespace sallyport::mitm::websocket {
namespace {

bool IsKnown(uint8_t opcode) {
  return opcode <= 2 || (opcode >= 8 && opcode <= 10);
}

/// The bytes of an extended length, by the seven bits that announce it.
size_t ExtendedSize(uint8_t length) {
  if (length == 126) return 2;
  return length == 127 ? 8 : 0;
}

}  // namespace

FrameReader::Event FrameReader::Next(std::string_view& input, size_t max) {
  if (step_ == Step::kFailed) return Event::kError;
  if (step_ == Step::kHead) return ReadHead(input);
  if (left_ == 0) {
    step_ = Step::kHead;
    head_size_ = 0;
    return Event::kEnd;
  }
  if (input.empty()) return Event::kMore;
  const size_t size =
      static_cast<size_t>(std::min<uint64_t>({input.size(), std::max<size_t>(max, 1), left_}));
  payload_.assign(input.substr(0, size));
  input.remove_prefix(size);
  left_ -= size;
  if (sender_ == Sender::kClient) {
    for (char& c : payload_) {
      c = static_cast<char>(static_cast<uint8_t>(c) ^ mask_[masked_]);
      masked_ = (masked_ + 1) % mask_.size();
    }
  }
  return Event::kPayload;
}

FrameReader::Event FrameReader::ReadHead(std::string_view& input) {
  while (head_size_ < HeadSize()) {
    if (input.empty()) return Event::kMore;
    head_[head_size_++] = static_cast<uint8_t>(input.front());
    input.remove_prefix(1);
  }
  return Interpret();
}

size_t FrameReader::HeadSize() const {
  if (head_size_ < 2) return 2;
  const size_t mask = (head_[1] & 0x80) != 0 ? 4 : 0;
  return 2 + ExtendedSize(head_[1] & 0x7f) + mask;
}

FrameReader::Event FrameReader::Interpret() {
  fin_ = (head_[0] & 0x80) != 0;
  const uint8_t opcode = head_[0] & 0x0f;
  const bool is_masked = (head_[1] & 0x80) != 0;
  if ((head_[0] & 0x70) != 0) return Fail("a frame with a reserved bit");
  if (!IsKnown(opcode)) return Fail("a frame with a reserved opcode");
  if (is_masked != (sender_ == Sender::kClient)) {
    return Fail(is_masked ? "a server's frame with a mask" : "a client's frame without a mask");
  }
  opcode_ = static_cast<Opcode>(opcode);
  const size_t extended = ExtendedSize(head_[1] & 0x7f);
  left_ = extended == 0 ? head_[1] & 0x7f : 0;
  for (size_t i = 0; i < extended; ++i) left_ = left_ << 8 | head_[2 + i];
  if ((extended == 2 && left_ < 126) || (extended == 8 && left_ <= 0xffff)) {
    return Fail("a frame whose length is not in its shortest form");
  }
  if (left_ >> 63 != 0) return Fail("a frame whose length has its highest bit set");
  if (IsControl(opcode_)) {
    if (!fin_) return Fail("a control frame in fragments");
    if (left_ > kMaxControl) return Fail("a control frame longer than 125 bytes");
    if (opcode_ == Opcode::kClose && left_ == 1) return Fail("a close frame with half a code");
  } else {
    if ((opcode_ == Opcode::kContinuation) != in_message_) {
      return Fail(in_message_ ? "a message that begins inside of another"
                              : "a continuation without a message");
    }
    in_message_ = !fin_;
  }
  if (is_masked)
    std::copy_n(head_.begin() + 2 + static_cast<ptrdiff_t>(extended), 4, mask_.begin());
  masked_ = 0;
  step_ = Step::kPayload;
  return Event::kHead;
}

FrameReader::Event FrameReader::Fail(const char* why) {
  step_ = Step::kFailed;
  error_ = why;
  return Event::kError;
}

void AppendFrame(Fin fin, Opcode opcode, std::string_view payload, const Mask* mask,
                 std::string& out) {
  const uint8_t mask_bit = mask != nullptr ? 0x80 : 0;
  const uint64_t size = payload.size();
  out.push_back(static_cast<char>((fin == Fin::kLast ? 0x80 : 0) | static_cast<uint8_t>(opcode)));
  if (size < 126) {
    out.push_back(static_cast<char>(mask_bit | size));
  } else {
    const int bytes = size <= 0xffff ? 2 : 8;
    out.push_back(static_cast<char>(mask_bit | (bytes == 2 ? 126 : 127)));
    for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(size >> (8 * i) & 0xff));
  }
  if (mask == nullptr) {
    out.append(payload);
    return;
  }
  for (const uint8_t byte : *mask) out.push_back(static_cast<char>(byte));
  for (size_t i = 0; i < size; ++i) {
    out.push_back(static_cast<char>(static_cast<uint8_t>(payload[i]) ^ (*mask)[i % 4]));
  }
}

std::string CloseCode(uint16_t code) {
  return {static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
}

}  // namespace sallyport::mitm::websocket
