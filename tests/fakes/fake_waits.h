#pragma once

#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "policy/engine.h"

namespace sallyport::policy {

/// What decisions wait for, done when the test says so.
class FakeWaits final : public WaitService {
 public:
  Pending Begin(const Wait& wait, const WaitSubject& subject,
                std::function<void(WaitResult)> done) override {
    const size_t number = begun.size();
    begun.push_back({wait, subject.request != nullptr ? subject.request->path : "",
                     subject.body_start, subject.body_bytes, subject.secrets});
    open_[number] = std::move(done);
    return Pending([this, number] { open_.erase(number); });
  }

  /// Ends the wait that began as NUMBER, from the test's own place, which is never inside Begin().
  void Finish(size_t number, WaitResult result) {
    const auto node = open_.extract(number);
    node.mapped()(std::move(result));
  }
  size_t open() const { return open_.size(); }

  struct Begun {
    Wait wait;
    std::string path;  ///< Of the request, if there is one.
    std::optional<std::string> body_start;
    std::optional<uint64_t> body_bytes;
    std::vector<std::string> secrets;
  };
  std::vector<Begun> begun;

 private:
  std::map<size_t, std::function<void(WaitResult)>> open_;
};

}  // namespace sallyport::policy
