#include "runtime/warden/audit_log.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace sallyport::runtime {
namespace {

// Bounds of the strings of a line, in bytes as they are written. A host name has at most 253; a
// path or a sentence that is longer says no more to a reader. A line is at most about 5 KiB, and
// 256 kinds of denials hold at most 1 MiB.
constexpr size_t kMaxWord = 32;   // transport, method
constexpr size_t kMaxName = 256;  // name, rule, sandbox
constexpr size_t kMaxText = 512;  // path, detail
constexpr size_t kMaxSecretName = 64;
constexpr size_t kMaxSecrets = 16;

// What most lines are shorter than, with and without what stands around a body.
constexpr size_t kUsualBody = 384;
constexpr size_t kUsualLine = 576;

constexpr std::string_view kLineEnd = "}\n";
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr std::string_view kEllipsis = "\xE2\x80\xA6";     // U+2026

struct CodePoint {
  char32_t value;
  size_t length;  // Bytes of input.
};

bool IsContinuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

// The code point at the front of TEXT, or nothing where TEXT is not UTF-8.
std::optional<CodePoint> DecodeFront(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return CodePoint{first, 1};
  size_t length = 0;
  char32_t value = 0;
  char32_t smallest = 0;
  if ((first & 0xE0) == 0xC0) {
    length = 2, value = first & 0x1F, smallest = 0x80;
  } else if ((first & 0xF0) == 0xE0) {
    length = 3, value = first & 0x0F, smallest = 0x800;
  } else if ((first & 0xF8) == 0xF0) {
    length = 4, value = first & 0x07, smallest = 0x10000;
  } else {
    return std::nullopt;
  }
  if (text.size() < length) return std::nullopt;
  for (size_t i = 1; i < length; ++i) {
    if (!IsContinuation(text[i])) return std::nullopt;
    value = (value << 6) | (static_cast<unsigned char>(text[i]) & 0x3F);
  }
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < smallest || value > 0x10FFFF || surrogate) return std::nullopt;
  return CodePoint{value, length};
}

// Characters that a terminal or a viewer of lines would act on: a guest chooses what stands in
// names and paths, and a person reads the log with `tail`.
bool ActsOnTerminals(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c <= 0x9F) || (c >= 0x2028 && c <= 0x202E) ||
         (c >= 0x2066 && c <= 0x2069);
}

void AppendEscape(std::string& out, char32_t c) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += kHex[(c >> shift) & 0xF];
}

void AppendNumber(std::string& out, uint64_t value) {
  out += std::to_string(value);
}

// How many bytes at the front of TEXT stand for themselves in JSON and on a terminal.
size_t PlainFront(std::string_view text) {
  const auto special = std::find_if(text.begin(), text.end(), [](char c) {
    return c < 0x20 || c > 0x7E || c == '"' || c == '\\';
  });
  return static_cast<size_t>(special - text.begin());
}

// TEXT as a JSON string of at most MAX bytes between its quotes.
void AppendString(std::string& out, std::string_view text, size_t max) {
  out += '"';
  const size_t limit = out.size() + max - kEllipsis.size();
  while (!text.empty()) {
    const size_t before = out.size();
    if (const size_t plain = PlainFront(text); plain > 0 && before + plain <= limit) {
      out += text.substr(0, plain);
      text.remove_prefix(plain);
      continue;
    }
    const std::optional<CodePoint> front = DecodeFront(text);
    if (!front) {
      out += kReplacement;
    } else if (front->value == '"' || front->value == '\\') {
      out += '\\';
      out += static_cast<char>(front->value);
    } else if (ActsOnTerminals(front->value)) {
      AppendEscape(out, front->value);
    } else {
      out += text.substr(0, front->length);
    }
    if (out.size() > limit) {
      out.resize(before);
      out += kEllipsis;
      break;
    }
    text.remove_prefix(front ? front->length : 1);
  }
  out += '"';
}

void AppendField(std::string& out, std::string_view key, std::string_view text, size_t max) {
  if (text.empty()) return;
  out += ",\"";
  out += key;
  out += "\":";
  AppendString(out, text, max);
}

void AppendField(std::string& out, std::string_view key, uint64_t value) {
  if (value == 0) return;
  out += ",\"";
  out += key;
  out += "\":";
  AppendNumber(out, value);
}

void AppendSecrets(std::string& out, const std::vector<std::string>& secrets) {
  if (secrets.empty()) return;
  out += ",\"secrets\":[";
  const size_t count = std::min(secrets.size(), kMaxSecrets);
  for (size_t i = 0; i < count; ++i) {
    if (i > 0) out += ',';
    AppendString(out, secrets[i], kMaxSecretName);
  }
  if (secrets.size() > count) {
    out += ',';
    AppendString(out, kEllipsis, kMaxSecretName);
  }
  out += ']';
}

// What a decision was, without when and how much: denials with the same body are the same.
std::string BodyOf(const AuditRecord& record, uint64_t latest) {
  std::string out;
  out.reserve(kUsualBody);
  AppendField(out, "generation", record.generation > 0 ? record.generation : latest);
  AppendField(out, "transport", record.transport, kMaxWord);
  AppendField(out, "direction", record.direction, kMaxWord);
  AppendField(out, "name", record.name, kMaxName);
  if (record.address) AppendField(out, "address", record.address->ToString(), kMaxName);
  AppendField(out, "port", record.port);
  AppendField(out, "method", record.method, kMaxWord);
  AppendField(out, "path", record.path, kMaxText);
  AppendField(out, "status", static_cast<uint64_t>(std::max(record.status, 0)));
  AppendField(out, "rule", record.rule, kMaxName);
  AppendField(out, "verdict", record.allowed ? "allow" : "deny", kMaxWord);
  AppendField(out, "reason", ToString(record.reason), kMaxWord);
  if (record.learnt) out += ",\"learnt\":true";
  if (record.by_policy) out += ",\"by_policy\":true";
  AppendField(out, "detail", record.detail, kMaxText);
  AppendField(out, "how_to_allow", record.how_to_allow, kMaxText);
  AppendSecrets(out, record.secrets);
  return out;
}

// TIME in RFC 3339, UTC. Calendar arithmetic only: gmtime_r() may open the zone file, which a
// confined process can't.
std::string FormatTime(std::chrono::system_clock::time_point time) {
  using std::chrono::days;
  using std::chrono::floor;
  using std::chrono::milliseconds;
  const auto day = floor<days>(time);
  const std::chrono::year_month_day date(day);
  const auto in_day = static_cast<uint64_t>(floor<milliseconds>(time - day).count());
  std::string text = "0000-00-00T00:00:00.000Z";
  const auto put = [&text](size_t at, size_t digits, uint64_t value) {
    for (size_t i = at + digits; i-- > at; value /= 10) text[i] = static_cast<char>('0' + value % 10);
  };
  put(0, 4, static_cast<uint64_t>(std::max(static_cast<int>(date.year()), 0)));
  put(5, 2, static_cast<unsigned>(date.month()));
  put(8, 2, static_cast<unsigned>(date.day()));
  put(11, 2, in_day / 3'600'000);
  put(14, 2, in_day / 60'000 % 60);
  put(17, 2, in_day / 1000 % 60);
  put(20, 3, in_day % 1000);
  return text;
}

// What has its line whatever a guest does beside it: what was allowed, what may have left although it
// was refused in the end, and what the user did.
bool IsKept(const AuditRecord& record) {
  return record.allowed || record.sent || record.transport == "control";
}

// Of which there may be many in one turn: requests that were allowed, of which nobody but the guest
// knows yet, and connections that are over.
bool MayWait(const AuditRecord& record) {
  if (!record.allowed) return false;
  if (record.transport == "tcp") return record.sent;
  return !record.method.empty() && (record.transport == "https" || record.transport == "http");
}

// Whether equal ones are counted. Each allowed connection and request is told by itself.
bool MayRepeat(const AuditRecord& record) {
  return !record.allowed || record.transport == "dns";
}

}  // namespace

AuditLog::AuditLog(UniqueFd fd, Options options)
    : fd_(std::move(fd)),
      options_(std::move(options)),
      budget_(options_.refusals, options_.now()),
      second_began_(options_.now()) {
  AppendField(sandbox_json_, "sandbox", options_.sandbox, kMaxName);
  if (!fd_.valid()) failure_ = "no audit log is open";
  if (options_.loop != nullptr) {
    before_wait_ = options_.loop->BeforeWait([this] { WriteWaiting(); });
  }
}

AuditLog::~AuditLog() {
  Flush(Clock::time_point::max());
  WriteWaiting();
}

void AuditLog::Write(const AuditRecord& record) {
  ++counts_[{record.transport, record.direction, record.allowed, record.reason}];
  if (!healthy()) return;
  const Clock::time_point now = options_.now();
  if (now - second_began_ >= std::chrono::seconds(1)) BeginSecond(now);
  std::string body = BodyOf(record, generation_);
  if (!MayRepeat(record)) {
    Tell(KindOf(record, std::move(body)), now);
    return;
  }
  if (Counted(record, body, now)) return;
  if (!IsKept(record) && record.transport == "dns" &&
      !names_.TellsAlone(record, options_.names_per_second, options_.wall())) {
    return;
  }
  const Kind occurrence = KindOf(record, std::move(body));
  // One that is not told is not known either, so that the next of its kind may be.
  if (Tell(occurrence, now)) Remember(occurrence, now);
}

void AuditLog::WriteMessage(const Message& message) {
  if (!healthy()) return;
  const Clock::time_point now = options_.now();
  if (now - second_began_ >= std::chrono::seconds(1)) BeginSecond(now);
  std::string body;
  AppendField(body, "generation", generation_);
  AppendField(body, "level", message.level, kMaxWord);
  AppendField(body, "message", message.text.empty() ? " " : message.text, kMaxText);
  AppendField(body, "place", message.place, kMaxName);
  AuditRecord record;
  record.flow = message.flow;
  if (Counted(record, body, now)) return;
  Kind occurrence = KindOf(record, std::move(body));
  occurrence.is_message = true;
  if (Tell(occurrence, now)) Remember(occurrence, now);
}

AuditLog::Kind AuditLog::KindOf(const AuditRecord& record, std::string body) const {
  Kind occurrence;
  occurrence.body = std::move(body);
  occurrence.kept = IsKept(record);
  occurrence.may_wait = options_.loop != nullptr && MayWait(record);
  occurrence.repeats = 1;
  occurrence.flow = record.flow;
  occurrence.time = options_.wall();
  occurrence.bytes_up = record.bytes_up;
  occurrence.bytes_down = record.bytes_down;
  occurrence.duration = record.duration;
  return occurrence;
}

// Counts a decision, or a message, whose like was told less than a window ago. False when it has to be
// told now.
bool AuditLog::Counted(const AuditRecord& record, const std::string& body, Clock::time_point now) {
  const auto known = by_body_.find(body);
  if (known == by_body_.end()) return false;
  const Kinds::iterator kind = known->second;
  if (now >= kind->due) {
    WriteOut(kind, now);
    return false;
  }
  ++kind->repeats;
  kind->flow = record.flow;
  kind->time = options_.wall();
  kind->bytes_up += record.bytes_up;
  kind->bytes_down += record.bytes_down;
  kind->duration = record.duration;
  return true;
}

// Those that follow OCCURRENCE, which was just told, will be counted.
void AuditLog::Remember(const Kind& occurrence, Clock::time_point now) {
  if (options_.max_kinds == 0) return;
  if (kinds_.size() >= options_.max_kinds) WriteOut(kinds_.begin(), now);
  Kind kind;
  kind.body = occurrence.body;
  kind.is_message = occurrence.is_message;
  kind.kept = occurrence.kept;
  kind.due = now + options_.window;
  kinds_.push_back(std::move(kind));
  by_body_.emplace(kinds_.back().body, std::prev(kinds_.end()));
}

// Forgets KIND, after telling what was counted.
void AuditLog::WriteOut(Kinds::iterator kind, Clock::time_point now) {
  by_body_.erase(kind->body);
  if (kind->repeats > 0) Tell(*kind, now);
  kinds_.erase(kind);
}

void AuditLog::Flush(Clock::time_point now) {
  // Windows have one length, so the oldest ends first.
  while (!kinds_.empty() && kinds_.front().due <= now) WriteOut(kinds_.begin(), options_.now());
  if (now == Clock::time_point::max() || now - second_began_ >= std::chrono::seconds(1)) {
    BeginSecond(options_.now());
  }
  if (now == Clock::time_point::max()) WriteWaiting();
}

void AuditLog::Continue(UniqueFd fd) {
  WriteWaiting();
  if (healthy()) fd_ = std::move(fd);
}

// Writes OCCURRENCE, or counts it where it is a refusal and there is no budget left for such.
bool AuditLog::Tell(const Kind& occurrence, Clock::time_point now) {
  std::string line = Head(occurrence.time);
  AppendField(line, "flow", occurrence.flow);
  line += occurrence.body;
  AppendField(line, "bytes_up", occurrence.bytes_up);
  AppendField(line, "bytes_down", occurrence.bytes_down);
  AppendField(line, "duration_us",
              static_cast<uint64_t>(std::max<int64_t>(occurrence.duration.count(), 0)));
  if (occurrence.repeats > 1) AppendField(line, "repeat", occurrence.repeats);
  if (!MayTell(occurrence, line.size() + kLineEnd.size(), now)) {
    (occurrence.is_message ? suppressed_messages_ : suppressed_) += occurrence.repeats;
    return false;
  }
  line += kLineEnd;
  Append(line);
  if (!occurrence.may_wait) WriteWaiting();
  return true;
}

// Whether a line of SIZE bytes about OCCURRENCE may be written now.
bool AuditLog::MayTell(const Kind& occurrence, size_t size, Clock::time_point now) {
  if (occurrence.is_message) {
    if (messages_this_second_ >= options_.max_messages_per_second) return false;
    ++messages_this_second_;
    return true;
  }
  return occurrence.kept || budget_.Take(size, now);
}

// Tells what was held back in the second that is over.
void AuditLog::BeginSecond(Clock::time_point now) {
  second_began_ = now;
  messages_this_second_ = 0;
  WriteZones(now);
  WriteSuppressed();
}

void AuditLog::WriteZones(Clock::time_point now) {
  for (const RefusedNames::Zone& zone : names_.BeginSecond()) {
    Kind counted = KindOf(zone.record, BodyOf(zone.record, generation_));
    counted.repeats = zone.count;
    counted.time = zone.time;
    Tell(counted, now);
  }
}

// One line in a second at most, so it needs no budget.
void AuditLog::WriteSuppressed() {
  const uint64_t deny = std::exchange(suppressed_, 0);
  const uint64_t messages = std::exchange(suppressed_messages_, 0);
  if (deny + messages == 0) return;
  std::string line = Head(options_.wall());
  AppendField(line, "generation", generation_);
  AppendField(line, "reason", ToString(Reason::kLimit), kMaxWord);
  AppendField(line, "detail",
              deny == 0 ? "More than " + std::to_string(options_.max_messages_per_second) +
                              " messages of the policy in a second; those beyond are only counted."
                        : "Refusals beyond what lines of them may take (" +
                              std::to_string(options_.refusals.per_second) +
                              " bytes a second) are only counted.",
              kMaxText);
  line += ",\"suppressed\":{\"allow\":0,\"deny\":";
  AppendNumber(line, deny);
  if (messages > 0) AppendField(line, "messages", messages);
  line += '}';
  line += kLineEnd;
  Append(line);
  WriteWaiting();
}

std::string AuditLog::Head(std::chrono::system_clock::time_point time) const {
  std::string head;
  head.reserve(kUsualLine);
  head.append("{\"time\":\"").append(FormatTime(time)).append("\"").append(sandbox_json_);
  return head;
}

// Lines keep their order.
void AuditLog::Append(std::string_view line) {
  if (waiting_.size() + line.size() > PIPE_BUF) WriteWaiting();
  if (line.size() > PIPE_BUF) return WriteLines(line);
  waiting_ += line;
}

void AuditLog::WriteWaiting() {
  if (waiting_.empty()) return;
  std::string lines;
  lines.swap(waiting_);  // Whoever taps them may cause further ones.
  WriteLines(lines);
  if (!waiting_.empty()) return;
  lines.clear();
  waiting_.swap(lines);  // Keeps its memory.
}

// After a failure nothing is written: what stands in the file then is a whole number of lines and at
// most one piece of a line, at its end.
void AuditLog::WriteLines(std::string_view lines) {
  if (!healthy()) return;
  ssize_t written = -1;
  do {
    written = write(fd_.get(), lines.data(), lines.size());
  } while (written < 0 && errno == EINTR);
  if (written < 0) {
    failure_ = "the audit log can't be written: " + Error::FromErrno("write").message();
    return;
  }
  if (static_cast<size_t>(written) != lines.size()) {
    failure_ = "the audit log can't be written: a line was cut short";
  }
  if (!options_.tap) return;
  std::string_view whole = lines.substr(0, static_cast<size_t>(written));
  for (size_t end = whole.find('\n'); end != whole.npos; end = whole.find('\n')) {
    options_.tap(whole.substr(0, end + 1));
    whole.remove_prefix(end + 1);
  }
}

}  // namespace sallyport::runtime
