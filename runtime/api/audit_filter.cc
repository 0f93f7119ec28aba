#include "runtime/api/audit_filter.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

namespace sallyport {
namespace {

std::string Quote(std::string_view text) {
  return "'" + std::string(text) + "'";
}

std::string KnownKeys() {
  std::string keys = "host, secret, since, until";
  for (const std::string_view key : AuditLine::Keys()) keys.append(", ").append(key);
  return keys;
}

/// TIME as a line of the log has it.
std::string Written(AuditFilter::Time time) {
  using namespace std::chrono;
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const auto in_day = floor<milliseconds>(time - day).count();
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ",
                static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()), static_cast<int>(in_day / 3'600'000),
                static_cast<int>(in_day / 60'000 % 60), static_cast<int>(in_day / 1000 % 60),
                static_cast<int>(in_day % 1000));
  return text.data();
}

/// "90s", "10m", "2h", "7d".
std::optional<std::chrono::seconds> ReadAgo(std::string_view text) {
  static constexpr std::pair<char, int64_t> kUnits[] = {
      {'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
  constexpr int64_t kMost = int64_t{100} * 366 * 86400;
  int64_t number = -1;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  if (parsed.ec != std::errc() || parsed.ptr + 1 != end || number < 0) return std::nullopt;
  for (const auto& [unit, factor] : kUnits) {
    if (*parsed.ptr == unit && number <= kMost / factor)
      return std::chrono::seconds(number * factor);
  }
  return std::nullopt;
}

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

/// A date, with a time or without one, in UTC, as a line has it; nothing for any other text.
std::optional<std::string> ReadMoment(std::string_view text) {
  constexpr std::string_view kForm = "0000-00-00T00:00:00.000Z";
  if (!text.ends_with('Z') && text.size() != 10) return std::nullopt;
  if (text.ends_with('Z')) text.remove_suffix(1);
  // Cut at a part's end: the day, the minute, the second, the millisecond.
  if (text.size() != 10 && text.size() != 16 && text.size() != 19 && text.size() != 23) {
    return std::nullopt;
  }
  for (size_t i = 0; i < text.size(); ++i) {
    if (kForm[i] == '0' ? !IsDigit(text[i]) : text[i] != kForm[i]) return std::nullopt;
  }
  return std::string(text) + std::string(kForm.substr(text.size()));
}

bool HostIs(const AuditLine& line, std::string_view wanted) {
  if (wanted.starts_with("*.")) return line.name.ends_with(wanted.substr(1));
  return line.name == wanted || line.address == wanted;
}

bool Holds(const AuditLine& line, const std::string& key, const std::string& value) {
  if (key == "host") return HostIs(line, value);
  if (key == "secret") {
    return std::find(line.secrets.begin(), line.secrets.end(), value) != line.secrets.end();
  }
  return line.Get(key) == value;
}

}  // namespace

Status AuditFilter::Add(std::string_view text, Time now) {
  const size_t equals = text.find('=');
  const std::string key(text.substr(0, equals));
  const bool known = key == "host" || key == "secret" || key == "since" || key == "until" ||
                     AuditLine().Get(key).has_value();
  if (equals == text.npos || !known) {
    return Fail(Code::kInvalid,
                Quote(text) + ": write key=value, as verdict=deny; the keys are " + KnownKeys());
  }
  const std::string_view value = text.substr(equals + 1);
  if (key == "since" || key == "until") return AddTime(key, value, now);
  if (key == "verdict" && value != "allow" && value != "deny") {
    return Fail(Code::kInvalid, Quote(text) + ": a verdict is allow or deny");
  }
  fields_.emplace_back(key, value);
  return {};
}

Status AuditFilter::AddTime(std::string_view key, std::string_view value, Time now) {
  auto moment = ReadMoment(value);
  if (const auto ago = ReadAgo(value)) moment = Written(now - *ago);
  if (!moment) {
    return Fail(Code::kInvalid, Quote(std::string(key) + "=" + std::string(value)) +
                                    ": a time is 2026-05-01, 2026-05-01T12:00:00Z, or 10m ago");
  }
  if (key == "since") {
    since_ = std::max(since_, *moment);
  } else {
    until_ = until_.empty() ? *moment : std::min(until_, *moment);
  }
  return {};
}

bool AuditFilter::Matches(const AuditLine& line) const {
  if (!line.sandbox.starts_with(sandbox)) return false;
  if (line.time < since_ || (!until_.empty() && line.time >= until_)) return false;
  return std::all_of(fields_.begin(), fields_.end(), [&](const auto& wanted) {
    return std::any_of(fields_.begin(), fields_.end(), [&](const auto& field) {
      return field.first == wanted.first && Holds(line, field.first, field.second);
    });
  });
}

}  // namespace sallyport
