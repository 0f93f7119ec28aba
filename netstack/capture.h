#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/unique_fd.h"
#include "netstack/flow_decider.h"
#include "netstack/pcapng.h"

namespace sallyport::netstack {

/// The frames of one guest, written to a pcapng file. The first frame of each flow has a comment
/// that names the flow and what was decided about it: `flow 12, allowed by policy.lua:3`. So a
/// frame waits for its flow's verdict, and those behind it with it, but not for long: when a
/// verdict takes its time the first frame says `flow 12` alone, and the flow's next frame has the
/// verdict.
///
/// A disk that is full or an error of writing ends the capture, and so does its bound; the file
/// then ends with a whole block. Nothing else ends with it.
class Capture {
 public:
  struct Options {
    std::string application;
    std::string description;  ///< Of the interface.
    /// Of the file. Far above what people look at, far below what fills a disk unnoticed.
    uint64_t max_bytes = uint64_t{1} << 30;
    /// How long frames wait for a verdict, and how many bytes of them.
    std::chrono::milliseconds hold{250};
    size_t max_held = size_t{4} << 20;
    /// The clock of the timestamps, for tests.
    std::function<std::chrono::system_clock::time_point()> wall = [] {
      return std::chrono::system_clock::now();
    };
  };

  /// Writes to FILE, a regular one, from its start. ON_END is called once, with the reason for
  /// people, when the capture ends before this is destroyed; it must not destroy this. LOOP
  /// outlives this.
  Capture(Loop& loop, UniqueFd file, std::function<void(std::string)> on_end, Options options);
  /// Writes what waits.
  ~Capture();
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  /// BYTES went by: inbound ones are the guest's.
  void OnFrame(PcapngDirection direction, std::vector<uint8_t> bytes);
  /// FLOW has begun with an inbound frame of this turn; a verdict on it is to come.
  void OnFlow(const FlowInfo& flow);
  /// What was decided on flow ID: "allowed by policy.lua:3". Only the first of a flow counts.
  void OnVerdict(uint64_t id, std::string_view verdict);
  /// FLOW, begun with an inbound frame of this turn, is refused without a verdict and a number;
  /// WHY is the frame's comment.
  void OnRefused(const FlowInfo& flow, std::string_view why);

 private:
  struct Held {
    Clock::time_point since;
    uint64_t time_ns = 0;
    PcapngDirection direction = PcapngDirection::kInbound;
    std::vector<uint8_t> bytes;
    uint64_t awaited = 0;  // The flow whose verdict it waits for; 0 for none.
    std::string comment;
    size_t size() const { return sizeof(Held) + bytes.size(); }
  };
  /// A flow whose first frame was written without its verdict.
  struct Late {
    FlowInfo flow;
    std::string comment;  // Empty until there is a verdict.
  };

  Held* FirstFrameOf(const FlowInfo& flow);
  std::string CommentFor(const std::vector<uint8_t>& frame);
  void Release();
  void ReleaseFirst();
  void Append(const Held& held);
  void ReleaseLater();
  void Write();
  void End(const std::string& why);

  Loop& loop_;
  const UniqueFd file_;
  std::function<void(std::string)> on_end_;
  const Options options_;
  std::deque<Held> held_;
  size_t held_bytes_ = 0;
  std::vector<FlowInfo> undecided_;  // Of the frames held; few.
  std::deque<Late> late_;
  std::string out_;  // Whole blocks.
  uint64_t written_ = 0;
  bool ended_ = false;
  bool release_posted_ = false;
  Loop::Handle release_;
  Loop::Handle timer_;
};

}  // namespace sallyport::netstack
