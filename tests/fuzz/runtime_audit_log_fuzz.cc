// An audit log, which a guest has filled with words of its own, and whoever reads it back: `audit`,
// `why`, `policy test`, `policy diff` and `policy learn`. The first byte says where the log is cut
// when it is read while it grows; the rest is its text.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/unique_fd.h"
#include "policy/lua_format.h"
#include "policy/test_file.h"
#include "runtime/api/audit_reader.h"
#include "runtime/api/audit_replay.h"
#include "runtime/api/files.h"
#include "runtime/api/policy_file.h"
#include "runtime/api/policy_learn.h"

using namespace sallyport;

namespace {

const policy::Engine::Source kPolicy{.text = R"(
allow.http { host = { "api.example.com", "*.example.org" }, method = "GET", path = "/items/**" }
allow.tcp { host = "db.example.com", port = 5432 }
allow.tcp { ip = "11.1.0.0/16", port = 22 }
allow.dns { host = "names.example.com", types = "TXT" }
ask.http { host = "asked.example.com" }
)",
                                     .name = "policy.lua",
                                     .folder = "/"};

policy::Engine& Engine() {
  static const auto loaded = LoadForQuestions(kPolicy);
  SALLYPORT_CHECK(loaded.has_value());
  return **loaded;
}

/// A log of memory, with a path that has no older files beside it.
class Log {
 public:
  Log() : file_(memfd_create("audit", MFD_CLOEXEC)) { SALLYPORT_CHECK(file_.valid()); }
  void Append(std::string_view text) const {
    SALLYPORT_CHECK(write(file_.get(), text.data(), text.size()) ==
                    static_cast<ssize_t>(text.size()));
  }
  std::string path() const { return "/proc/self/fd/" + std::to_string(file_.get()); }

 private:
  const UniqueFd file_;
};

/// What is shown acts on no terminal, and a filter by what a line says finds the line.
void Look(std::string_view text, const AuditLine& line) {
  const auto acts = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  const std::string shown = line.ToText();
  SALLYPORT_CHECK(std::none_of(shown.begin(), shown.end(), acts));
  const auto now = std::chrono::system_clock::from_time_t(1'700'000'000);
  AuditFilter all;
  for (const auto key : AuditLine::Keys()) {
    const auto value = line.Get(key);
    SALLYPORT_CHECK(value.has_value());
    AuditFilter filter;
    const bool added = filter.Add(std::string(key) + "=" + *value, now).has_value();
    SALLYPORT_CHECK(added || key == "verdict");
    if (added) SALLYPORT_CHECK(filter.Matches(line));
    if (added) (void)all.Add(std::string(key) + "=" + *value, now).has_value();
  }
  SALLYPORT_CHECK(all.Matches(line));
  for (const auto& secret : line.secrets) {
    AuditFilter filter;
    SALLYPORT_CHECK(filter.Add("secret=" + secret, now).has_value() && filter.Matches(line));
  }
  AuditFilter any;
  (void)any.Add(text, now).has_value();
  (void)any.Add("since=" + line.time, now).has_value();
  (void)any.Add("until=" + line.detail, now).has_value();
  (void)any.Matches(line);
  (void)policy::SourceLine(kPolicy, line.rule);
}

/// Every whole line comes once, wherever the log ends at a look.
void ReadBack(std::string_view text, size_t cut) {
  const Log log;
  AuditReader reader(log.path());
  std::vector<std::string> read;
  const auto on_line = [&read](std::string_view line, const AuditLine&) {
    read.emplace_back(line);
  };
  log.Append(text.substr(0, cut));
  SALLYPORT_CHECK(reader.Read(on_line).has_value());
  log.Append(text.substr(cut));
  SALLYPORT_CHECK(reader.Read(on_line).has_value());
  std::vector<std::string> whole;
  size_t others = 0;
  const size_t end = text.rfind('\n');
  for (const auto line : Lines(text.substr(0, end == text.npos ? 0 : end + 1))) {
    if (const auto parsed = AuditLine::Parse(line)) {
      whole.emplace_back(line);
      Look(line, *parsed);
    } else {
      ++others;
    }
  }
  SALLYPORT_CHECK(read == whole && reader.unread() == others);
}

void Replay(std::string_view text) {
  const Recording recording = ReadRecording(text);
  SALLYPORT_CHECK(recording.unread <= recording.lines);
  for (const Recorded& recorded : recording.decisions) {
    SALLYPORT_CHECK(!recorded.words.empty());
    (void)policy::Decide(Engine(), recorded.question);
  }
}

/// The rules allow what the log says was done, and are written as `policy fmt` writes them; or
/// there is a line that no gate writes, such as a path that none lets through, and no rules are
/// made.
void Learn(std::string_view text) {
  const Log log;
  log.Append(text);
  for (const auto take : {LearnPlan::Take::kAllowed, LearnPlan::Take::kLearnt}) {
    const auto learnt =
        LearnPolicy({.audits = {log.path()}, .sandbox = "", .take = take, .over = {}});
    SALLYPORT_CHECK(learnt.has_value() || learnt.error().code() == Code::kInvalid);
    if (!learnt) continue;
    const auto formatted = policy::FormatLua(learnt->text);
    SALLYPORT_CHECK(formatted.has_value() && *formatted == learnt->text);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Longer lines are none, and are counted otherwise when they come in pieces.
  if (size == 0 || size > 32 * 1024) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  ReadBack(text, data[0] * text.size() / 255);
  Replay(text);
  Learn(text);
  return 0;
}
