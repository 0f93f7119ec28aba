#include "runtime/warden/decision_waits.h"

#include <string>
#include <utility>

#include "policy/engine.h"

namespace sallyport::runtime {
namespace {

Approvals::Subject SubjectOf(const policy::AskWait& question, const policy::WaitSubject& about) {
  const policy::Facts& facts = about.facts;
  Approvals::Subject subject;
  subject.kind = ToString(facts.transport);
  subject.host = facts.name ? facts.name->text() : ToString(Host(facts.destination.address));
  subject.port = facts.destination.port;
  subject.rule = question.rule;
  subject.place = question.place;
  subject.message = question.message;
  if (about.request == nullptr) return subject;
  subject.kind = about.request->scheme;
  subject.method = about.request->method;
  subject.path = about.request->path;
  if (about.request->query) subject.path += "?" + *about.request->query;
  subject.body_bytes = about.body_bytes;
  subject.body_start = about.body_start;
  subject.secrets = about.secrets;
  return subject;
}

}  // namespace

Pending DecisionWaits::Begin(const policy::Wait& wait, const policy::WaitSubject& subject,
                             std::function<void(policy::WaitResult)> done) {
  if (const auto* question = std::get_if<policy::AskWait>(&wait)) {
    return approvals_.Ask(SubjectOf(*question, subject), question->limit,
                          [done = std::move(done)](policy::Approval answer) { done(answer); });
  }
  if (const auto* fetch = std::get_if<policy::FetchWait>(&wait); fetch != nullptr && fetcher_) {
    return fetcher_(*fetch, subject.facts,
                    [done = std::move(done)](policy::Fetched result) { done(std::move(result)); });
  }
  const auto* sleep = std::get_if<policy::SleepWait>(&wait);
  // A flow has no body to be read: its callback is told so at once.
  return Sleep(sleep != nullptr ? sleep->time : std::chrono::milliseconds(0), std::move(done));
}

Pending DecisionWaits::Sleep(std::chrono::milliseconds time,
                             std::function<void(policy::WaitResult)> done) {
  const uint64_t id = next_id_++;
  Sleeper& sleeper = sleepers_[id];
  sleeper.done = std::move(done);
  sleeper.timer = loop_.After(time, [this, id] {
    const auto node = sleepers_.extract(id);
    node.mapped().done(policy::Slept{});
  });
  return Pending([this, id] { sleepers_.erase(id); });
}

}  // namespace sallyport::runtime
