#include "runtime/api/audit_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "policy/test_file.h"
#include "runtime/api/audit_file.h"
#include "runtime/api/control.h"
#include "runtime/api/files.h"
#include "runtime/api/policy_file.h"

namespace sallyport {
namespace {

// A line of ours has at most 5 KiB. Longer ones are not ours, and are not kept in memory.
constexpr size_t kMaxLine = 64 * 1024;
// As many files as a reader looks for; far more than are kept.
constexpr unsigned kMostFiles = 64;
// Renaming takes less than a millisecond, and a file fills in seconds.
constexpr int kMostLooks = 8;
// How long a renamed file is still read: its writers look for the new one all AuditRenewal::kCheck.
constexpr std::chrono::seconds kStillWritten{10};

}  // namespace

bool AuditReader::Knows(const File& file) const {
  return std::any_of(files_.begin(), files_.end(),
                     [&file](const File& other) { return other.IsSame(file); });
}

/// What is new at the path and behind it, down to the first file that is known; the oldest first.
std::list<AuditReader::File> AuditReader::Scan() const {
  std::list<File> found;
  unsigned missing = 0;  // In a row; while files are renamed, one place is empty.
  for (unsigned number = 0; number < kMostFiles && missing < 2; ++number) {
    File file;
    file.fd = UniqueFd(open(AuditFile::PathOf(path_, number).c_str(), O_RDONLY | O_CLOEXEC));
    struct stat info {};
    if (!file.fd.valid() || fstat(file.fd.get(), &info) != 0) {
      ++missing;
      continue;
    }
    missing = 0;
    file.device = info.st_dev;
    file.inode = info.st_ino;
    if (Knows(file)) break;
    found.push_front(std::move(file));
  }
  return found;
}

/// Files may be renamed while we look: two looks in a row must see the same.
void AuditReader::FindFiles() {
  const auto same = [](const File& a, const File& b) { return a.IsSame(b); };
  std::list<File> found = Scan();
  for (int i = 0; i < kMostLooks; ++i) {
    std::list<File> again = Scan();
    const bool settled = std::equal(found.begin(), found.end(), again.begin(), again.end(), same);
    found = std::move(again);
    if (settled) break;
    if (i + 1 == kMostLooks) return;  // At the next Read().
  }
  const auto now = Clock::now();
  if (!found.empty()) {
    for (File& file : files_) file.renamed = file.renamed.value_or(now);
  }
  files_.splice(files_.end(), found);
}

Status AuditReader::Read(const OnLine& on_line) {
  FindFiles();
  if (files_.empty()) return Fail(Code::kNotFound, path_ + ": there is no audit log");
  for (File& file : files_) {
    if (auto read = ReadFile(file, on_line); !read) return read;
  }
  const auto now = Clock::now();
  while (files_.size() > 1 && files_.front().renamed &&
         now - *files_.front().renamed > kStillWritten) {
    files_.pop_front();
  }
  return {};
}

Status AuditReader::ReadFile(File& file, const OnLine& on_line) {
  std::array<char, 64 * 1024> piece;
  while (true) {
    const ssize_t got = read(file.fd.get(), piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return tl::unexpected(Error::FromErrno(path_));
    if (got == 0) return {};
    file.rest.append(piece.data(), static_cast<size_t>(got));
    size_t begin = 0;
    for (size_t end = 0; (end = file.rest.find('\n', begin)) != std::string::npos;
         begin = end + 1) {
      const auto text = std::string_view(file.rest).substr(begin, end - begin);
      if (const auto line = AuditLine::Parse(text)) {
        on_line(text, *line);
      } else {
        ++unread_;
      }
    }
    file.rest.erase(0, begin);
    if (file.rest.size() > kMaxLine) file.rest.resize(kMaxLine);  // Still none once it ends.
  }
}

Result<std::string> DefaultAuditFile() {
  auto folder = StateFolder();
  if (!folder) return tl::unexpected(std::move(folder).error().In("audit log"));
  return *folder + "/audit.jsonl";
}

namespace {

/// The last refusal on FLOW.
Result<AuditLine> FindRefusal(const std::string& audit, const std::string& flow) {
  const size_t slash = flow.rfind('/');
  AuditFilter filter;
  if (slash != std::string::npos) filter.sandbox = flow.substr(0, slash);
  const std::string number = flow.substr(slash == std::string::npos ? 0 : slash + 1);
  for (const auto& field : {"flow=" + number, std::string("verdict=deny")}) {
    if (auto added = filter.Add(field, {}); !added) return tl::unexpected(std::move(added).error());
  }
  std::optional<AuditLine> last;
  AuditReader reader(audit);
  auto read = reader.Read([&](std::string_view, const AuditLine& line) {
    if (filter.Matches(line)) last = line;
  });
  if (!read) return tl::unexpected(std::move(read).error());
  if (!last) return Fail(Code::kNotFound, audit + ": nothing was refused on flow " + flow);
  return *last;
}

/// The line of RULE in FILE, which the user names. One without a name of its own is taken for the
/// policy that the rule is from.
Result<std::string> GivenRuleLine(const std::string& rule, const std::string& file) {
  auto source = ReadGivenPolicy(file);
  if (!source) return tl::unexpected(std::move(source).error());
  if (source->name == kPipeName) source->name = rule.substr(0, rule.find(':'));
  return policy::SourceLine(*source, rule);
}

/// The line of LINE's rule in the file that its sandbox runs on, while it runs.
Result<std::string> RunningRuleLine(const AuditLine& line) {
  const auto reply = AskSandbox(line.sandbox, {"policy file", {}});
  if (!reply) return "";
  const auto source = ReadPolicySource(reply->text);
  return source ? policy::SourceLine(*source, line.rule) : "";
}

}  // namespace

Result<std::string> ExplainFlow(const std::string& audit, const std::string& flow,
                                const std::optional<std::string>& policy) {
  const auto line = FindRefusal(audit, flow);
  if (!line) return tl::unexpected(line.error());
  const auto rule_line =
      policy ? GivenRuleLine(line->rule, *policy) : RunningRuleLine(*line);
  if (!rule_line) return tl::unexpected(rule_line.error());
  std::string text = line->ToText() + "\n";
  if (!line->detail.empty()) text += line->detail + "\n";
  if (!line->rule.empty()) text += "rule " + line->rule + "\n";
  if (!rule_line->empty()) text += "  | " + *rule_line + "\n";
  if (!line->how_to_allow.empty()) text += "to allow it, add:\n  " + line->how_to_allow + "\n";
  return text;
}

}  // namespace sallyport
