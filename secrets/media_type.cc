#include "secrets/media_type.h"

#include <algorithm>
#include <optional>
#include <string_view>

namespace sallyport::secrets {
namespace {

using Format = MediaType::Format;
using Body = SecretSpec::Body;

constexpr size_t kLongestBoundary = 70;  // RFC 2046, 5.1.1

std::string_view Trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::string Lowered(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

bool IsBoundary(std::string_view text) {
  const auto allowed = [](char c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return letter || (c >= '0' && c <= '9') ||
           std::string_view("'()+_,-./:=? ").find(c) != std::string_view::npos;
  };
  return !text.empty() && text.size() <= kLongestBoundary && text.back() != ' ' &&
         std::all_of(text.begin(), text.end(), allowed);
}

Format FormatOf(std::string_view type) {
  const std::string lower = Lowered(type);
  const size_t slash = lower.find('/');
  if (slash == std::string::npos) return Format::kOther;
  const std::string_view main = std::string_view(lower).substr(0, slash);
  const std::string_view sub = std::string_view(lower).substr(slash + 1);
  if (!IsToken(main) || !IsToken(sub)) return Format::kOther;
  if (main == "text") return Format::kText;
  if (main == "multipart" && sub == "form-data") return Format::kMultipart;
  if (main != "application") return Format::kOther;
  if (sub == "json" || sub.ends_with("+json")) return Format::kJson;
  return sub == "x-www-form-urlencoded" ? Format::kUrlEncoded : Format::kOther;
}

/// Takes a parameter's value, a token or a quoted string, off the beginning of TEXT.
std::optional<std::string> TakeValue(std::string_view& text) {
  if (text.empty() || text.front() != '"') {
    const size_t end = std::min(text.find(';'), text.size());
    const std::string value(Trimmed(text.substr(0, end)));
    text.remove_prefix(end);
    return value;
  }
  std::string value;
  for (size_t at = 1; at < text.size(); ++at) {
    if (text[at] == '"') {
      text = Trimmed(text.substr(at + 1));
      return value;
    }
    if (text[at] == '\\' && ++at == text.size()) break;
    value += text[at];
  }
  return std::nullopt;
}

/// The one boundary among PARAMETERS, which begin with ';' where there are any.
std::optional<std::string> BoundaryOf(std::string_view parameters) {
  std::optional<std::string> boundary;
  while (!parameters.empty()) {
    if (parameters.front() != ';') return std::nullopt;
    parameters = Trimmed(parameters.substr(1));
    if (parameters.empty() || parameters.front() == ';') continue;
    const size_t equals = parameters.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    const std::string name = Lowered(parameters.substr(0, equals));
    if (!IsToken(name)) return std::nullopt;
    parameters.remove_prefix(equals + 1);
    std::optional<std::string> value = TakeValue(parameters);
    if (!value) return std::nullopt;
    if (name != "boundary") continue;
    if (boundary || !IsBoundary(*value)) return std::nullopt;
    boundary = std::move(value);
  }
  return boundary;
}

}  // namespace

MediaType MediaTypeOf(const Headers& headers) {
  const std::vector<std::string_view> fields = headers.FindAll("content-type");
  if (fields.size() != 1) return {};
  const size_t end = std::min(fields.front().find(';'), fields.front().size());
  MediaType type{FormatOf(Trimmed(fields.front().substr(0, end))), {}};
  if (type.format != Format::kMultipart) return type;
  std::optional<std::string> boundary = BoundaryOf(fields.front().substr(end));
  if (!boundary) return {};
  type.boundary = *std::move(boundary);
  return type;
}

bool IsKind(MediaType::Format format, SecretSpec::Body body) {
  switch (format) {
    case Format::kOther:
      return false;
    case Format::kJson:
      return body == Body::kJson;
    case Format::kUrlEncoded:
    case Format::kMultipart:
      return body == Body::kForm;
    case Format::kText:
      return body == Body::kText;
  }
  return false;
}

}  // namespace sallyport::secrets
