#pragma once

#include <map>

#include "base/loop.h"
#include "policy/wait.h"
#include "runtime/warden/approvals.h"

namespace sallyport::runtime {

/// Does what the policy's decisions wait for: sleeps, asks the user, and has requests made.
class DecisionWaits final : public policy::WaitService {
 public:
  DecisionWaits(Loop& loop, Approvals& approvals) : loop_(loop), approvals_(approvals) {}

  /// Who makes the requests of `fetch`; none yet: they fail.
  using Fetcher = std::function<Pending(const policy::FetchWait&, const policy::Facts&,
                                        std::function<void(policy::Fetched)>)>;
  void SetFetcher(Fetcher fetcher) { fetcher_ = std::move(fetcher); }

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
  Fetcher fetcher_;
  std::map<uint64_t, Sleeper> sleepers_;
  uint64_t next_id_ = 1;
};

}  // namespace sallyport::runtime
