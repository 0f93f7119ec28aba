#include "runtime/api/policy_learn.h"

#include <sys/stat.h>

#include <map>
#include <set>

#include "policy/diagnostics.h"
#include "policy/dns_message.h"
#include "policy/learnt_rules.h"
#include "policy/question.h"
#include "runtime/api/audit_reader.h"
#include "runtime/api/audit_replay.h"
#include "runtime/api/files.h"
#include "runtime/api/policy_file.h"

namespace sallyport {
namespace {

using policy::Observation;

constexpr std::string_view kMark = "-- Learnt by sandboxctl";
// Different decisions that the rules are held to; each is some 300 bytes.
constexpr size_t kMaxHeld = 100'000;
constexpr size_t kMaxMissed = 5;  // Of which the first are told.

/// What LINE says was done. Nothing for what was refused, and for names without an answer.
std::optional<Observation> ObservationOf(const AuditLine& line) {
  if (WhatPolicySaid(line) != PolicySaid::kYes) return std::nullopt;
  if (line.reason == "name_not_found" || line.reason == "resolver_failed") return std::nullopt;
  auto host = ParseHost(HostOf(line));
  if (!host) return std::nullopt;
  Observation seen;
  seen.host = *std::move(host);
  seen.port = line.port;
  seen.count = line.repeat;
  seen.secrets = line.secrets;
  if (line.transport == "dns") {
    seen.kind = Observation::Kind::kName;
    const auto type = policy::dns::ParseTypeName(line.method);
    if (line.reason != "allowed" || line.name.empty() || !type) return std::nullopt;
    seen.type = *type;
    return seen;
  }
  if (line.port == 0) return std::nullopt;
  if (line.transport == "tcp" || line.transport == "udp") {
    seen.kind = line.transport == "tcp" ? Observation::Kind::kTcp : Observation::Kind::kUdp;
    return seen;
  }
  if (line.transport != "http" && line.transport != "https") return std::nullopt;
  if (line.method.empty()) {
    seen.kind = Observation::Kind::kPassedTls;
    return seen;
  }
  if (line.method == "CONNECT") return std::nullopt;
  seen.kind = Observation::Kind::kRequest;
  seen.method = line.method;
  seen.path = line.path;
  constexpr std::string_view kCut = "…";
  if (seen.path.ends_with(kCut)) {
    seen.path.resize(seen.path.size() - kCut.size());
    seen.path_length = policy::PathShapes::Length::kCut;
  }
  return seen;
}

/// A number and a noun.
std::string Count(size_t count, const char* thing) {
  return std::to_string(count) + " " + thing + (count == 1 ? "" : "s");
}

class Learner {
 public:
  explicit Learner(const LearnPlan& plan) : plan_(plan) { filter_.sandbox = plan.sandbox; }

  Result<LearntPolicy> Run() && {
    if (plan_.over) {
      const auto source = ReadGivenPolicy(*plan_.over);
      if (!source) return tl::unexpected(source.error());
      over_name_ = source->name;
      auto over = LoadForQuestions(*source);
      if (!over) return tl::unexpected(std::move(over).error().In(*plan_.over));
      over_ = *std::move(over);
    }
    for (const auto& audit : plan_.audits) {
      AuditReader reader(audit);
      auto read = reader.Read([this](std::string_view, const AuditLine& line) { OnLine(line); });
      if (!read) return tl::unexpected(std::move(read).error());
      unread_ += reader.unread();
    }
    LearntPolicy learnt;
    learnt.text = Header() + rules_.ToText();
    learnt.decisions = held_.size();
    if (auto holds = Hold(learnt.text); !holds) return tl::unexpected(std::move(holds).error());
    learnt.notes = Notes();
    return learnt;
  }

 private:
  void OnLine(const AuditLine& line) {
    if (!filter_.Matches(line)) return;
    suppressed_ += line.suppressed_allow;
    if (plan_.take == LearnPlan::Take::kLearnt && !line.learnt) return;
    const auto seen = ObservationOf(line);
    if (!seen) return;
    const auto recorded = RecordedOf(line);
    if (recorded && IsCovered(*recorded)) return;
    if (!rules_.Add(*seen) || !recorded) return;
    if (held_.size() < kMaxHeld) held_.try_emplace(recorded->words, recorded->question);
  }

  /// Whether the policy that the rules are for allows it already.
  bool IsCovered(const Recorded& recorded) {
    if (!over_) return false;
    const auto known = covered_.find(recorded.words);
    if (known != covered_.end()) return known->second;
    const bool allowed = policy::Decide(*over_, recorded.question).allowed;
    if (covered_.size() < kMaxHeld) covered_.emplace(recorded.words, allowed);
    return allowed;
  }

  std::string Header() const {
    std::string text(kMark);
    text +=
        ": the rules that allow what audit logs say was done.\n"
        "-- Read them before you use them: nobody judged what was done.\n";
    if (plan_.over) {
      text += "-- What " + policy::Printable(over_name_, 80) +
              " allows is not repeated: these rules belong behind its own.\n";
    }
    for (const auto& what : rules_.unwritten()) text += "-- not written: " + what + "\n";
    return text + (held_.empty() ? "-- There was nothing to learn.\n" : "\n");
  }

  /// That TEXT loads, and allows what it was made of.
  Status Hold(const std::string& text) const {
    const auto loaded = LoadForQuestions({.text = text, .name = "learnt rules", .folder = "/"});
    if (!loaded) return tl::unexpected(loaded.error());
    std::string missed;
    size_t count = 0;
    for (const auto& [words, question] : held_) {
      if (policy::Decide(**loaded, question).allowed) continue;
      if (++count <= kMaxMissed) missed += "\n  " + words;
    }
    if (count == 0) return {};
    return Fail(Code::kInvalid,
                "no rules could be made that allow " + Count(count, "decision") + ":" + missed);
  }

  std::vector<std::string> Notes() const {
    std::vector<std::string> notes;
    if (unread_ > 0) notes.push_back(Count(unread_, "line") + " can't be read");
    if (suppressed_ > 0) {
      notes.push_back(Count(suppressed_, "allowed decision") +
                      " were only counted by the log: the rules may be too narrow");
    }
    for (const auto& what : rules_.unwritten()) notes.push_back("no rule for " + what);
    return notes;
  }

  const LearnPlan& plan_;
  AuditFilter filter_;
  std::unique_ptr<policy::Engine> over_;
  std::string over_name_;
  std::map<std::string, bool> covered_;
  policy::LearntRules rules_;
  std::map<std::string, policy::Question> held_;  // By their words.
  size_t unread_ = 0;
  uint64_t suppressed_ = 0;
};

}  // namespace

Result<LearntPolicy> LearnPolicy(const LearnPlan& plan) {
  return Learner(plan).Run();
}

Result<ReplacedFile> OpenLearntFile(const std::string& path) {
  struct stat info {};
  if (lstat(path.c_str(), &info) == 0) {
    constexpr size_t kMost = 4 * 1024 * 1024;
    const auto text =
        S_ISREG(info.st_mode) ? ReadFile(path, kMost) : Result<std::string>(std::string());
    if (!text) return tl::unexpected(text.error());
    if (!text->starts_with(kMark)) {
      return Fail(Code::kInvalid, path + " is there already and was not learnt; name another file");
    }
  }
  return ReplacedFile::Open(path);
}

}  // namespace sallyport
