#include "mitm/http1/head_reader.h"

#include <llhttp.h>

#include <algorithm>
#include <utility>

#include "mitm/limits.h"
#include "mitm/request_target.h"

namespace sallyport::mitm::http1 {
namespace {

// The longest start line: a target, a method and a version around it.
constexpr size_t kMaxStartLine = kMaxTargetBytes + 64;
// RFC 9112, 2.2: a server ignores at least one empty line before a request.
constexpr size_t kMaxBlankLines = 2;
// What most heads have; more make the list of fields grow.
constexpr size_t kUsualFields = 16;

constexpr const char* kBadControl = "a lone CR, LF or a NUL in the head";

/// What llhttp's callbacks fill. The field under construction is the last one; llhttp may give a
/// name or value in pieces.
struct Collector {
  RawHead& head;
  bool in_value = false;
  bool too_many_fields = false;
};

Collector& CollectorOf(llhttp_t* parser) {
  return *static_cast<Collector*>(parser->data);
}

int OnTarget(llhttp_t* parser, const char* at, size_t size) noexcept {
  CollectorOf(parser).head.target.append(at, size);
  return HPE_OK;
}

int OnReason(llhttp_t* parser, const char* at, size_t size) noexcept {
  CollectorOf(parser).head.reason.append(at, size);
  return HPE_OK;
}

int OnName(llhttp_t* parser, const char* at, size_t size) noexcept {
  Collector& collector = CollectorOf(parser);
  auto& fields = collector.head.headers.fields();
  if (collector.in_value || fields.empty()) {
    if (fields.size() >= kMaxFields) {
      collector.too_many_fields = true;
      return HPE_USER;
    }
    fields.emplace_back();
    collector.in_value = false;
  }
  fields.back().name.append(at, size);
  return HPE_OK;
}

int OnValue(llhttp_t* parser, const char* at, size_t size) noexcept {
  Collector& collector = CollectorOf(parser);
  collector.in_value = true;
  collector.head.headers.fields().back().value.append(at, size);
  return HPE_OK;
}

// An empty value may come without a span of its own.
int OnNameComplete(llhttp_t* parser) noexcept {
  CollectorOf(parser).in_value = true;
  return HPE_OK;
}

// The body is not llhttp's business: see body_decoder.h.
int OnHeadComplete(llhttp_t*) noexcept {
  return HPE_PAUSED;
}

const llhttp_settings_t& Settings() {
  static const llhttp_settings_t settings = [] {
    llhttp_settings_t made;
    llhttp_settings_init(&made);
    made.on_url = OnTarget;
    made.on_status = OnReason;
    made.on_header_field = OnName;
    made.on_header_field_complete = OnNameComplete;
    made.on_header_value = OnValue;
    made.on_headers_complete = OnHeadComplete;
    return made;
  }();
  return settings;
}

/// Whether a request line has exactly the two spaces that part it. llhttp takes more.
bool HasThreeParts(std::string_view line) {
  return std::count(line.begin(), line.end(), ' ') == 2;
}

/// Whether LINE could begin a request, complete or of HTTP/0.9. Who speaks another protocol (SMTP,
/// SSH, Redis) waits for an answer to its first line.
bool LooksLikeRequestLine(std::string_view line) {
  const size_t space = line.find(' ');
  return line.find(" HTTP/") != line.npos ||
         (space != line.npos && line.substr(space + 1).starts_with('/'));
}

/// Shows PARSER a head. It knows only some methods, and they mean nothing to it but for CONNECT,
/// whose target has another form: all others are POST to it. What is no METHOD is left to it to
/// refuse.
llhttp_errno_t Execute(llhttp_t& parser, std::string_view bytes, std::string_view method) {
  constexpr std::string_view kAnyMethod = "POST";
  if (method != "CONNECT" && IsMethod(method)) {
    llhttp_execute(&parser, kAnyMethod.data(), kAnyMethod.size());
    bytes.remove_prefix(method.size());
  }
  return llhttp_execute(&parser, bytes.data(), bytes.size());
}

void TrimTrailingSpace(std::string& value) {
  const size_t end = value.find_last_not_of(" \t");
  value.resize(end == std::string::npos ? 0 : end + 1);
}

}  // namespace

HeadReader::Outcome HeadReader::Feed(std::string_view& input) {
  if (failed_) return Outcome::kError;
  if (seen_ == 0) head_ = {};
  const std::optional<size_t> end = FindEnd(input);
  if (failed_) return Outcome::kError;
  if (!end) {
    partial_.append(input);
    input = {};
    return Outcome::kMore;
  }
  std::string_view whole = input.substr(0, *end);
  if (!partial_.empty()) {
    partial_.append(whole);
    whole = partial_;
  }
  const Outcome outcome = Parse(whole);
  input.remove_prefix(*end);
  if (outcome == Outcome::kHead) Restart();
  return outcome;
}

void HeadReader::Restart() {
  partial_.clear();
  partial_.shrink_to_fit();
  seen_ = lines_ = blank_ = line_ = 0;
  cr_ = false;
}

/// Where in BYTES the head ends, if it does.
std::optional<size_t> HeadReader::FindEnd(std::string_view bytes) {
  size_t position = 0;
  while (position < bytes.size()) {
    if (line_ == 0 && !cr_ && !CheckLineStart(bytes[position])) return std::nullopt;
    const size_t newline = bytes.find('\n', position);
    const size_t stop = newline == std::string_view::npos ? bytes.size() : newline;
    if (!CheckLinePart(bytes.substr(position, stop - position))) return std::nullopt;
    if (newline == std::string_view::npos) return std::nullopt;
    ++seen_;
    position = newline + 1;
    if (line_ == 0 && cr_ && lines_ > 0) return position;
    if (lines_ == 0 && !CheckStartLine(bytes.substr(0, newline))) return std::nullopt;
    if (!EndLine()) return std::nullopt;
  }
  return std::nullopt;
}

bool HeadReader::CheckLineStart(char first) {
  if (first == ' ' || first == '\t') {
    Fail(400, lines_ > 0 ? "a folded field line" : "white space before the start line");
    return false;
  }
  return true;
}

/// PART is the rest of a line, or as much of it as has arrived, without its LF.
bool HeadReader::CheckLinePart(std::string_view part) {
  seen_ += part.size();
  if (!part.empty()) {
    const bool cr_at_end = part.back() == '\r';
    const std::string_view inner = part.substr(0, part.size() - (cr_at_end ? 1 : 0));
    if (cr_ || inner.find('\r') != std::string_view::npos ||
        inner.find('\0') != std::string_view::npos) {
      Fail(400, kBadControl);
      return false;
    }
    line_ += inner.size();
    cr_ = cr_at_end;
  }
  if (lines_ == 0 && line_ > kMaxStartLine) {
    Fail(414, "the start line is longer than 16 KiB");
    return false;
  }
  if (seen_ > kMaxHeadBytes) {
    Fail(431, "the head is larger than 64 KiB");
    return false;
  }
  return true;
}

/// BYTES end with the first line, or its latest part, whose LF has arrived. Said before the rest of
/// the head comes, since of another protocol nothing more comes.
bool HeadReader::CheckStartLine(std::string_view bytes) {
  if (kind_ != Kind::kRequest || line_ == 0) return true;
  std::string joined;
  if (!partial_.empty()) bytes = joined.append(partial_).append(bytes);
  const size_t begin = bytes.size() - line_ - (cr_ ? 1 : 0);
  if (LooksLikeRequestLine(bytes.substr(begin, line_))) return true;
  Fail(400, "the first line is not of HTTP");
  error_.not_http = true;
  return false;
}

/// The line's LF has arrived.
bool HeadReader::EndLine() {
  if (!std::exchange(cr_, false)) {
    Fail(400, kBadControl);
    return false;
  }
  if (line_ == 0) {
    if (kind_ == Kind::kResponse || ++blank_ > kMaxBlankLines) {
      Fail(400, "an empty line in place of a start line");
      return false;
    }
    return true;
  }
  line_ = 0;
  ++lines_;
  return true;
}

HeadReader::Outcome HeadReader::Parse(std::string_view bytes) {
  bytes.remove_prefix(2 * blank_);
  if (kind_ == Kind::kRequest && !HasThreeParts(bytes.substr(0, bytes.find('\r')))) {
    return Fail(400, "a request line that is not METHOD TARGET VERSION");
  }
  head_.headers.fields().reserve(kUsualFields);
  Collector collector{head_};
  llhttp_t parser;
  llhttp_init(&parser, kind_ == Kind::kRequest ? HTTP_REQUEST : HTTP_RESPONSE, &Settings());
  parser.data = &collector;
  if (kind_ == Kind::kRequest) head_.method = bytes.substr(0, bytes.find(' '));
  const llhttp_errno_t result = Execute(parser, bytes, head_.method);
  if (collector.too_many_fields) return Fail(431, "more than 100 fields in the head");
  if (result == HPE_PAUSED_H2_UPGRADE) return Fail(400, "an HTTP/2 preface where HTTP/1 is spoken");
  if (result != HPE_PAUSED) {
    const char* reason = llhttp_get_error_reason(&parser);
    return Fail(400, reason != nullptr && *reason != '\0' ? reason : "not an HTTP head");
  }
  // What llhttp took for the head is what we took for it, to the byte.
  if (llhttp_get_error_pos(&parser) != bytes.data() + bytes.size()) {
    return Fail(400, "not an HTTP head");
  }
  if (parser.http_major != 1 || parser.http_minor > 1) {
    return Fail(kind_ == Kind::kRequest ? 505 : 502, "a version of HTTP that is not 1.0 or 1.1");
  }
  head_.minor_version = parser.http_minor;
  if (kind_ == Kind::kResponse) head_.status = parser.status_code;
  return Check() ? Outcome::kHead : Outcome::kError;
}

/// What is left for us to be strict about.
bool HeadReader::Check() {
  if (head_.target.size() > kMaxTargetBytes) {
    Fail(414, "the request target is longer than 16 KiB");
    return false;
  }
  for (HeaderField& field : head_.headers.fields()) {
    TrimTrailingSpace(field.value);
    if (!IsToken(field.name) || !IsFieldValue(field.value)) {
      Fail(400, "a field with characters that may not stand in it");
      return false;
    }
  }
  if (kind_ == Kind::kResponse && (head_.status < 100 || head_.status > 999)) {
    Fail(502, "a status that has not three digits");
    return false;
  }
  return true;
}

HeadReader::Outcome HeadReader::Fail(int status, std::string detail) {
  failed_ = true;
  error_ = {.status = status, .detail = std::move(detail)};
  return Outcome::kError;
}

}  // namespace sallyport::mitm::http1
