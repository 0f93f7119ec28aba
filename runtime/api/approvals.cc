#include "runtime/api/approvals.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <utility>

#include "policy/question.h"
#include "runtime/api/control.h"
#include "runtime/api/files.h"
#include "runtime/api/policy_file.h"
#include "runtime/api/replaced_file.h"

namespace sallyport {
namespace {

constexpr size_t kQuestionFields = 10;  // What both replies have; a list puts one before and two behind.
constexpr size_t kMaxShown = 300;

ApprovalQuestion Read(std::string sandbox, const std::vector<std::string>& row, size_t first) {
  ApprovalQuestion question;
  question.sandbox = std::move(sandbox);
  std::string* const fields[] = {&question.kind, &question.host, &question.port,
                                 &question.method, &question.path, &question.body_bytes,
                                 &question.rule, &question.message, &question.secrets,
                                 &question.body_start};
  for (size_t i = 0; i < kQuestionFields; ++i) *fields[i] = row[first + i];
  return question;
}

Result<std::vector<ApprovalQuestion>> QuestionsOf(const std::string& sandbox) {
  auto reply = AskSandbox(sandbox, {"approvals", {}});
  if (!reply) return tl::unexpected(std::move(reply).error());
  std::vector<ApprovalQuestion> questions;
  for (const auto& row : reply->rows) {
    if (row.size() != kQuestionFields + 3) return Fail(Code::kInvalid, "not a list of questions");
    ApprovalQuestion question = Read(sandbox, row, 1);
    question.id = row[0];
    question.waiting = row[kQuestionFields + 1];
    question.age = row[kQuestionFields + 2];
    questions.push_back(std::move(question));
  }
  return questions;
}

/// For a terminal: what is not plain ASCII becomes '?'.
std::string Shown(std::string_view text) {
  std::string shown(text.substr(0, kMaxShown));
  for (char& c : shown) {
    if (c < ' ' || c > '~') c = '?';
  }
  if (text.size() > kMaxShown) shown += "...";
  return shown;
}

bool IsDefaultPort(const ApprovalQuestion& question) {
  return question.kind == "icmp" || (question.kind == "https" && question.port == "443") ||
         (question.kind == "http" && question.port == "80");
}

/// TEXT as a Lua string; nothing for what a rule can't hold.
Result<std::string> Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c < ' ' || c > '~' || c == '*') {
      return Fail(Code::kUnsupported, "no rule can name '" + Shown(text) + "' alone");
    }
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

std::string_view WordOf(ApprovalAnswer answer) {
  switch (answer) {
    case ApprovalAnswer::kOnce:
      return "once";
    case ApprovalAnswer::kSession:
      return "session";
    case ApprovalAnswer::kDeny:
      return "deny";
    case ApprovalAnswer::kDenySession:
      return "deny-session";
  }
  return "deny";
}

/// Where line LINE of TEXT begins; its end when there is none.
size_t OffsetOf(std::string_view text, size_t line) {
  size_t at = 0;
  for (; line > 1; --line) {
    const size_t end = text.find('\n', at);
    if (end == text.npos) return text.size();
    at = end + 1;
  }
  return at;
}

/// The line of the policy called NAME that PLACE is in ("policy.lua:12", "policy.lua:3(npm:4)"); 0
/// for none.
size_t LineIn(const std::string& name, std::string_view place) {
  if (!place.starts_with(name + ":")) return 0;
  size_t line = 0;
  std::from_chars(place.data() + name.size() + 1, place.data() + place.size(), line);
  return line;
}

/// QUESTION as it can be put to a policy.
Result<policy::Question> AsAsked(const ApprovalQuestion& question) {
  const std::string target = question.host + ":" + question.port;
  if (question.kind == "icmp") return policy::Question::Parse({question.kind, question.host});
  if (question.method.empty()) return policy::Question::Parse({question.kind, target});
  return policy::Question::Parse(
      {"http", question.method, question.kind + "://" + target + question.path});
}

/// What SOURCE says to QUESTION. kInvalid where it has mistakes.
Result<policy::Answer> AskPolicy(const policy::Engine::Source& source,
                                 const policy::Question& question) {
  const auto engine = LoadForQuestions(source);
  if (!engine) return tl::unexpected(engine.error());
  return policy::Decide(**engine, question);
}

/// The line of SOURCE before which RULE has to stand to allow what is asked, and SOURCE has it
/// then.
Result<size_t> Insert(const std::string& rule, const ApprovalQuestion& question,
                      policy::Engine::Source& source) {
  const auto asked = AsAsked(question);
  if (!asked) return tl::unexpected(asked.error());
  const auto before = AskPolicy(source, *asked);
  if (!before) return tl::unexpected(before.error());
  // A rule that also looks at headers is none that can be asked about here; it is known by its id.
  const std::string& place = before->place.empty() ? question.rule : before->place;
  std::string& text = source.text;
  if (!text.empty() && text.back() != '\n') text += '\n';
  const size_t line = LineIn(source.name, place);
  const size_t at = line == 0 ? text.size() : OffsetOf(text, line);
  text.insert(at, rule + "\n");
  const auto after = AskPolicy(source, *asked);
  if (!after) return tl::unexpected(Error(after.error()).In("with " + rule));
  if (!after->allowed) {
    return Fail(Code::kInvalid,
                "with " + rule + " it would not be allowed either: " + after->detail);
  }
  return static_cast<size_t>(
      std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(at), '\n') + 1);
}

}  // namespace

std::string ApprovalQuestion::Describe() const {
  const bool request = kind == "http" || kind == "https";
  std::string text = request ? method + " " + kind + "://" + host : kind + " to " + host;
  if (!IsDefaultPort(*this)) text += ":" + port;
  text += path;
  if (!body_bytes.empty() && body_bytes != "0") text += ", " + body_bytes + " bytes";
  if (!secrets.empty()) text += ", with " + secrets;
  return Shown(text);
}

Result<std::vector<ApprovalQuestion>> OpenQuestions(std::string_view sandbox) {
  if (!sandbox.empty()) return QuestionsOf(std::string(sandbox));
  auto running = ListSandboxes();
  if (!running) return tl::unexpected(std::move(running).error());
  std::vector<ApprovalQuestion> all;
  for (const RunningSandbox& one : *running) {
    if (one.starting) continue;
    auto questions = QuestionsOf(one.id);
    if (!questions) continue;  // Gone meanwhile.
    std::move(questions->begin(), questions->end(), std::back_inserter(all));
  }
  return all;
}

Result<ApprovalQuestion> AnswerQuestion(std::string_view sandbox, std::string_view id,
                                        ApprovalAnswer answer) {
  auto reply =
      AskSandbox(sandbox, {"approve", {std::string(id), std::string(WordOf(answer))}});
  if (!reply) return tl::unexpected(std::move(reply).error());
  if (reply->rows.size() != 1 || reply->rows[0].size() != kQuestionFields) {
    return Fail(Code::kInvalid, "not the answer to an answer");
  }
  ApprovalQuestion question = Read(std::string(sandbox), reply->rows[0], 0);
  question.id = id;
  return question;
}

Result<std::string> RuleFor(const ApprovalQuestion& question) {
  const bool request = question.kind == "http" || question.kind == "https";
  // A literal address has no name to stand in `host`.
  const bool address = question.host.find_first_not_of("0123456789.") == std::string::npos ||
                       question.host.find(':') != std::string::npos;
  std::string host = question.host;
  if (address) std::erase_if(host, [](char c) { return c == '[' || c == ']'; });
  auto quoted_host = Quoted(host);
  if (!quoted_host) return quoted_host;
  std::string rule = std::string("allow.") + (request ? "http" : question.kind) + " { " +
                     (address ? "ip" : "host") + " = " + *quoted_host;
  if (question.kind != "icmp") rule += ", port = " + question.port;
  if (request) {
    auto method = Quoted(question.method);
    auto path = Quoted(std::string_view(question.path).substr(0, question.path.find('?')));
    if (!method) return method;
    if (!path) return path;
    rule += ", method = " + *method + ", path = " + *path;
  }
  return rule + " }";
}

Result<size_t> AddRule(const std::string& file, const std::string& rule,
                       const ApprovalQuestion& question) {
  const std::filesystem::path given(file);
  policy::Engine::Source source{
      .text = {}, .name = given.filename(), .folder = given.parent_path()};
  std::string path = file;
  struct stat info {};
  if (stat(file.c_str(), &info) == 0) {
    auto read = ReadPolicySource(file);
    if (!read) return tl::unexpected(std::move(read).error());
    source = *std::move(read);
    auto resolved = ResolvePath(file);  // A link stays one.
    if (!resolved) return tl::unexpected(std::move(resolved).error());
    path = *std::move(resolved);
  }
  const auto line = Insert(rule, question, source);
  if (!line) return line;
  const auto target = ReplacedFile::Open(path);
  if (!target) return tl::unexpected(target.error());
  if (auto written = target->Write(source.text); !written) {
    return tl::unexpected(std::move(written).error());
  }
  return line;
}

}  // namespace sallyport
