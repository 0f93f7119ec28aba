#include "mitm/websocket/message_pipe.h"

#include <algorithm>
#include <utility>

#include "mitm/limits.h"
#include "secrets/secret.h"

namespace sallyport::mitm::websocket {
namespace {

using Event = FrameReader::Event;

void Wipe(std::string& text) {
  secrets::WipeBytes(text.data(), text.size());
  text.clear();
}

/// Makes room for MORE bytes without leaving a copy of TEXT behind.
void Reserve(std::string& text, size_t more) {
  if (text.capacity() - text.size() >= more) return;
  std::string larger;
  larger.reserve(text.size() + more);
  larger.append(text);
  Wipe(text);
  text.swap(larger);
}

}  // namespace

MessagePipe::MessagePipe(Sender sender, MakeFilter make_filter, MakeMask make_mask)
    : sender_(sender),
      make_filter_(std::move(make_filter)),
      make_mask_(std::move(make_mask)),
      reader_(sender) {}

MessagePipe::~MessagePipe() {
  Wipe(settled_);
}

Status MessagePipe::Feed(std::string_view& input, std::string& out) {
  Status status;
  // The end of a frame needs no input of its own, so it is always seen with the last of its bytes.
  while (status && (input.empty() || settled_.size() + out.size() < kInputBlock)) {
    if (closed_) {
      input = {};
      break;
    }
    const Event event = reader_.Next(input, kSubstituteSlice);
    if (event == Event::kMore) break;
    if (event == Event::kError) status = Fail(Code::kInvalid, reader_.error());
    if (event == Event::kHead) status = OnHead();
    if (event == Event::kPayload) status = OnPayload();
    if (event == Event::kEnd) status = OnEnd(out);
  }
  if (status && !settled_.empty()) Emit(Fin::kMore, out);
  Wipe(settled_);
  settled_.shrink_to_fit();
  return status;
}

Status MessagePipe::OnHead() {
  const Opcode opcode = reader_.opcode();
  if (opcode == Opcode::kText || opcode == Opcode::kBinary) {
    next_ = opcode;
    filter_ = make_filter_(opcode);
  }
  control_.clear();
  return {};
}

Status MessagePipe::OnPayload() {
  if (IsControl(reader_.opcode())) {
    control_.append(reader_.payload());
    return {};
  }
  // A filter's output of one slice is rarely more than this; then strings grow once.
  Reserve(settled_, filter_ ? kSubstituteSlice + kLargestValue : kSubstituteSlice);
  if (filter_) return filter_->Feed(reader_.payload(), settled_);
  settled_.append(reader_.payload());
  return {};
}

Status MessagePipe::OnEnd(std::string& out) {
  if (IsControl(reader_.opcode())) return EndControl(out);
  if (!reader_.fin()) return {};
  if (filter_) {
    if (Status done = filter_->Finish(settled_); !done) return done;
  }
  filter_.reset();
  Emit(Fin::kLast, out);
  return {};
}

/// A control frame can't grow beyond 125 bytes, and nobody shows its payload: where a filter would
/// change it, it goes without, but for a close frame's code.
Status MessagePipe::EndControl(std::string& out) {
  const Opcode opcode = reader_.opcode();
  const size_t code = opcode == Opcode::kClose ? std::min<size_t>(control_.size(), 2) : 0;
  const std::string_view text = std::string_view(control_).substr(code);
  if (const auto filter = text.empty() ? nullptr : make_filter_(opcode)) {
    std::string filtered;
    Status done = filter->Feed(text, filtered);
    if (done) done = filter->Finish(filtered);
    const bool changed = filtered != text;
    Wipe(filtered);
    if (!done) return done;
    if (changed) control_.resize(code);
  }
  if (!settled_.empty()) Emit(Fin::kMore, out);
  Append(Fin::kLast, opcode, control_, out);
  closed_ = opcode == Opcode::kClose;
  return {};
}

void MessagePipe::Emit(Fin fin, std::string& out) {
  Append(fin, std::exchange(next_, Opcode::kContinuation), settled_, out);
  Wipe(settled_);
}

void MessagePipe::Append(Fin fin, Opcode opcode, std::string_view payload, std::string& out) {
  constexpr size_t kLongestHead = 14;
  Reserve(out, payload.size() + kLongestHead);
  if (sender_ == Sender::kServer) return AppendFrame(fin, opcode, payload, nullptr, out);
  const Mask mask = make_mask_();
  AppendFrame(fin, opcode, payload, &mask, out);
}

void MessagePipe::AppendClose(uint16_t code, std::string& out) {
  Append(Fin::kLast, Opcode::kClose, CloseCode(code), out);
}

}  // namespace sallyport::mitm::websocket
