#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/loop.h"
#include "base/result.h"
#include "netstack/flow_decider.h"
#include "netstack/link.h"
#include "netstack/stack_options.h"
#include "netstack/stack_stats.h"

namespace sallyport::netstack {

/// A flow as it is now.
struct FlowView {
  enum class State {
    kDeciding,  ///< Its verdict is awaited.
    kOpen,
    kClosing,  ///< TCP: one side at least has ended.
  };
  FlowInfo info;
  FlowStats stats;
  State state = State::kOpen;
};

/// The network of one guest: every packet it sends ends here. Connections and datagrams become
/// flows, which a FlowDecider is asked about; nothing is relayed that it has not granted.
///
/// lwIP's state is global, so there is one Stack per process at a time.
class Stack {
 public:
  /// Starts on LINK. DECIDER outlives the stack. kInvalid for options that make no sense, kLimit
  /// when there is a stack already.
  static Result<std::unique_ptr<Stack>> Create(Loop& loop, std::unique_ptr<Link> link,
                                               FlowDecider& decider, const StackOptions& options);
  /// Ends every flow: verdicts awaited are cancelled, sockets closed, streams left broken. The
  /// guest is told nothing. DECIDER's OnFlowEnd is called for what was granted, and must not call
  /// the stack.
  ~Stack();
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;

  /// Resets flow ID on both sides, as soon as the turn ends. False if there is none.
  bool CutFlow(uint64_t id);

  const StackStats& stats() const;

  /// Calls VISIT, which must not call the stack, with each flow that there is now, in no order.
  void ForEachFlow(const std::function<void(const FlowView&)>& visit) const;

 private:
  class Impl;
  explicit Stack(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sallyport::netstack
