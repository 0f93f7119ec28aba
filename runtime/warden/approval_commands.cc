#include "runtime/warden/approval_commands.h"

#include <charconv>
#include <utility>

namespace sallyport::runtime {
namespace {

using Answer = Approvals::Answer;

// Of the rows of a reply, which is one packet. Those behind are shown when these are answered.
constexpr size_t kMaxRows = kMaxControlPacket / 2;

std::optional<Answer> ParseAnswer(std::string_view word) {
  if (word == "once") return Answer::kOnce;
  if (word == "session") return Answer::kSession;
  if (word == "deny") return Answer::kDeny;
  if (word == "deny-session") return Answer::kDenySession;
  return std::nullopt;
}

// Of a body, escaped, in a row: many rows are to fit into a reply.
constexpr size_t kMaxBodyShown = 1024;

/// BYTES in printable ASCII: "\n" and "\x1b" for what is not, "\\" for a backslash.
std::string Escaped(std::string_view bytes) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    if (text.size() >= kMaxBodyShown) return text + "...";
    if (c == '\n') {
      text += "\\n";
    } else if (c == '\\') {
      text += "\\\\";
    } else if (c >= ' ' && c <= '~') {
      text += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      text.append("\\x").append(1, kHex[byte >> 4]).append(1, kHex[byte & 0xf]);
    }
  }
  return text;
}

std::string Join(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text.append(text.empty() ? "" : ",").append(word);
  return text;
}

std::vector<std::string> RowOf(const Approvals::Subject& subject) {
  return {subject.kind,
          subject.host,
          std::to_string(subject.port),
          subject.method,
          subject.path,
          subject.body_bytes ? std::to_string(*subject.body_bytes) : "",
          subject.rule,
          subject.message,
          Join(subject.secrets),
          Escaped(subject.body_start.value_or(""))};
}

}  // namespace

AuditRecord RecordOf(const Approvals::Subject& subject, std::string method) {
  AuditRecord record;
  record.transport = "control";
  record.method = std::move(method);
  record.name = subject.host;
  record.port = subject.port;
  record.path = subject.path.substr(0, subject.path.find('?'));
  record.rule = subject.rule;
  record.allowed = true;
  return record;
}

ControlReply ApprovalCommands::Run(const ControlRequest& request) {
  const auto& arguments = request.arguments;
  if (request.verb == "approvals" && arguments.empty()) return List();
  if (request.verb == "approve" && arguments.size() == 2) return Answer(arguments[0], arguments[1]);
  return {.done = false, .text = "this sandbox does not know " + request.verb, .rows = {}};
}

ControlReply ApprovalCommands::List() {
  ControlReply reply{.done = true, .text = "", .rows = {}};
  size_t bytes = 0;
  for (const Approvals::Question& question : approvals_.open()) {
    std::vector<std::string> row = RowOf(question.subject);
    const auto age =
        std::chrono::duration_cast<std::chrono::seconds>(loop_.Time() - question.asked);
    row.insert(row.begin(), std::to_string(question.id));
    row.push_back(std::to_string(question.waiting));
    row.push_back(std::to_string(age.count()));
    for (const std::string& field : row) bytes += field.size() + 4;
    if (bytes > kMaxRows) break;
    reply.rows.push_back(std::move(row));
  }
  return reply;
}

ControlReply ApprovalCommands::Answer(const std::string& id, const std::string& word) {
  uint64_t number = 0;
  const auto parsed = std::from_chars(id.data(), id.data() + id.size(), number);
  const auto answer = ParseAnswer(word);
  if (parsed.ec != std::errc() || parsed.ptr != id.data() + id.size() || !answer) {
    return {.done = false, .text = "not an answer to a question", .rows = {}};
  }
  auto subject = approvals_.Reply(number, *answer);
  if (!subject) return {.done = false, .text = subject.error().message(), .rows = {}};
  audit_.Write(RecordOf(*subject, "approve " + word));
  return {.done = true, .text = "", .rows = {RowOf(*subject)}};
}

}  // namespace sallyport::runtime
