// A frame goes
//
//     OnFrame -> held_ -> Release (at the end of a turn, in order) -> out_ -> Write
//
// and stays in held_ while it, or one before it, awaits a verdict: until OnVerdict(), `hold` later,
// or when held_ is too large. Whatever waited is written then, so the file is never further behind
// than that, and what a killed process loses is that much.

#include "netstack/capture.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/result.h"
#include "netstack/frame_flow.h"

namespace sallyport::netstack {
namespace {

// How far back the frame is looked for that began a flow: what a turn reads, and as much again for
// the datagram whose first fragment it was.
constexpr size_t kLookBack = 128;
// Flows that wait for a late verdict, as an approval; the oldest are forgotten and have none in the
// file. About 150 bytes each.
constexpr size_t kMaxLate = 1024;

std::string Name(uint64_t flow) {
  return "flow " + std::to_string(flow);
}

uint64_t Nanoseconds(std::chrono::system_clock::time_point time) {
  const auto since = std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch());
  return static_cast<uint64_t>(std::max<int64_t>(since.count(), 0));
}

}  // namespace

Capture::Capture(Loop& loop, UniqueFd file, std::function<void(std::string)> on_end,
                 Options options)
    : loop_(loop),
      file_(std::move(file)),
      on_end_(std::move(on_end)),
      options_(std::move(options)) {
  AppendPcapngHeader(
      out_,
      {.application = options_.application, .name = "gate", .description = options_.description});
  ReleaseLater();
}

Capture::~Capture() {
  while (!held_.empty()) ReleaseFirst();
  Write();
}

void Capture::OnFrame(PcapngDirection direction, std::vector<uint8_t> bytes) {
  if (ended_) return;
  Held held;
  held.since = loop_.now();
  held.time_ns = Nanoseconds(options_.wall());
  held.direction = direction;
  if (!late_.empty()) held.comment = CommentFor(bytes);
  held.bytes = std::move(bytes);
  held_bytes_ += held.size();
  held_.push_back(std::move(held));
  ReleaseLater();
}

// The verdict that has come since the first frame of FRAME's flow was written.
std::string Capture::CommentFor(const std::vector<uint8_t>& frame) {
  const auto flow = FlowOfFrame(frame);
  if (!flow) return {};
  const auto found = std::ranges::find_if(
      late_, [&](const Late& late) { return !late.comment.empty() && Belongs(*flow, late.flow); });
  if (found == late_.end()) return {};
  std::string comment = std::move(found->comment);
  late_.erase(found);
  return comment;
}

// The frame that FLOW has just begun with; null where it is written already.
Capture::Held* Capture::FirstFrameOf(const FlowInfo& flow) {
  const auto end = held_.rbegin() + static_cast<ptrdiff_t>(std::min(held_.size(), kLookBack));
  const auto first = std::find_if(held_.rbegin(), end, [&](const Held& held) {
    if (held.direction != PcapngDirection::kInbound || held.awaited != 0) return false;
    const auto found = FlowOfFrame(held.bytes);
    return found && Belongs(*found, flow);
  });
  return first == end ? nullptr : &*first;
}

void Capture::OnFlow(const FlowInfo& flow) {
  if (ended_) return;
  Held* const first = FirstFrameOf(flow);
  if (first == nullptr) return;
  first->awaited = flow.id;
  undecided_.push_back(flow);
}

void Capture::OnRefused(const FlowInfo& flow, std::string_view why) {
  if (ended_) return;
  if (Held* const first = FirstFrameOf(flow)) first->comment = why;
}

void Capture::OnVerdict(uint64_t id, std::string_view verdict) {
  if (ended_) return;
  const std::string comment = Name(id) + ", " + std::string(verdict);
  const auto undecided =
      std::ranges::find_if(undecided_, [id](const FlowInfo& flow) { return flow.id == id; });
  if (undecided == undecided_.end()) {
    for (Late& late : late_) {
      if (late.flow.id == id && late.comment.empty()) late.comment = comment;
    }
    return;
  }
  undecided_.erase(undecided);
  for (Held& held : held_) {
    if (std::exchange(held.awaited, held.awaited == id ? 0 : held.awaited) == id) {
      held.comment = comment;
    }
  }
  ReleaseLater();
}

// Once a turn: frames come by the dozen.
void Capture::ReleaseLater() {
  if (std::exchange(release_posted_, true)) return;
  release_ = loop_.Post([this] {
    release_posted_ = false;
    Release();
  });
}

void Capture::Release() {
  while (!held_.empty() && !ended_) {
    const Held& next = held_.front();
    const bool patient =
        held_bytes_ <= options_.max_held && loop_.now() - next.since < options_.hold;
    if (next.awaited != 0 && patient) break;
    ReleaseFirst();
  }
  Write();
  timer_ = {};
  if (held_.empty() || ended_) return;
  timer_ = loop_.After(options_.hold - (loop_.now() - held_.front().since), [this] { Release(); });
}

void Capture::ReleaseFirst() {
  Held held = std::move(held_.front());
  held_bytes_ -= held.size();
  held_.pop_front();
  if (held.awaited != 0) {
    held.comment = Name(held.awaited);
    const auto flow = std::ranges::find_if(
        undecided_, [&](const FlowInfo& undecided) { return undecided.id == held.awaited; });
    if (flow != undecided_.end()) {
      late_.push_back({*flow, {}});
      undecided_.erase(flow);
    }
    if (late_.size() > kMaxLate) late_.pop_front();
  }
  Append(held);
}

void Capture::Append(const Held& held) {
  const size_t before = out_.size();
  AppendPcapngFrame(out_, {.time_ns = held.time_ns,
                           .direction = held.direction,
                           .bytes = held.bytes,
                           .comment = held.comment});
  if (written_ + out_.size() <= options_.max_bytes) return;
  out_.resize(before);
  Write();
  End("it has reached " + std::to_string(options_.max_bytes >> 20) + " MiB");
}

void Capture::Write() {
  std::string_view left = out_;
  while (!left.empty() && !ended_) {
    const ssize_t count = write(file_.get(), left.data(), left.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      End(Error::FromErrno("write").message());
      break;
    }
    left.remove_prefix(static_cast<size_t>(count));
  }
  if (!ended_) written_ += out_.size();
  out_.clear();
}

void Capture::End(const std::string& why) {
  if (std::exchange(ended_, true)) return;
  held_.clear();
  undecided_.clear();
  late_.clear();
  held_bytes_ = 0;
  // What was written last may be cut in a block.
  [[maybe_unused]] const int cut = ftruncate(file_.get(), static_cast<off_t>(written_));
  if (on_end_) on_end_(why);
}

}  // namespace sallyport::netstack
