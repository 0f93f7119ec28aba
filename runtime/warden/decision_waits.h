#pragma once

#include <map>

#include "base/loop.h"
#include "policy/wait.h"
#include "runtime/warden/approvals.h"

namespace sallyport::runtime {

/// Does what the policy's decisions wait for: sleeps, and asks the user.
class DecisionWaits final : public policy::WaitService {
 public:
  DecisionWaits(Loop& loop, Approvals& approvals) : loop_(loop), approvals_(approvals) {}

  Pending Begin(const policy::Wait& wait, const policy::WaitSubject& subject,
                std::function<void(policy::WaitResult)> done) override;

 private:
  struct Sleeper {
    std::function<void(policy::WaitResult)> done;
    Loop::Handle timer;
  };
  Pending Sleep(std::chrono::milliseconds time, std::function<void(policy::WaitResult)> done);

  Loop& loop_;
  Approvals& approvals_;
  std::map<uint64_t, Sleeper> sleepers_;
  uint64_t next_id_ = 1;
};

}  // namespace sallyport::runtime
