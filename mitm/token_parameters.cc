#include "mitm/token_parameters.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "secrets/basic_auth.h"

namespace sallyport::mitm {
namespace {

using nlohmann::json;

constexpr std::string_view kForm = "application/x-www-form-urlencoded";
constexpr std::string_view kJson = "application/json";

/// The parameters that mean something here, with their values, each at most once.
struct Known {
  std::optional<std::string> grant_type;
  std::optional<std::string> client_id;
  std::optional<std::string> client_secret;
  std::optional<std::string> refresh_token;
  std::optional<std::string> scope;

  std::optional<std::string>* Find(std::string_view name) {
    if (name == "grant_type") return &grant_type;
    if (name == "client_id") return &client_id;
    if (name == "client_secret") return &client_secret;
    if (name == "refresh_token") return &refresh_token;
    if (name == "scope") return &scope;
    return nullptr;
  }
};

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// TEXT of a form, decoded; nothing for a broken escape.
std::optional<std::string> FormDecoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i] == '+' ? ' ' : text[i]);
      continue;
    }
    const int high = i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? HexDigit(text[i + 2]) : -1;
    if (high < 0 || low < 0) return std::nullopt;
    out.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return out;
}

Status ReadForm(std::string_view body, Known& known) {
  while (!body.empty()) {
    const std::string_view pair = body.substr(0, body.find('&'));
    body.remove_prefix(std::min(body.size(), pair.size() + 1));
    const size_t equals = std::min(pair.find('='), pair.size());
    const auto name = FormDecoded(pair.substr(0, equals));
    auto value = FormDecoded(pair.substr(std::min(equals + 1, pair.size())));
    if (!name || !value) return Fail(Code::kInvalid, "the form has a broken percent-encoding");
    auto* const place = known.Find(*name);
    if (place == nullptr) continue;
    // RFC 6749, 3.2.
    if (*place) return Fail(Code::kInvalid, "a parameter of the form is repeated");
    *place = *std::move(value);
  }
  return {};
}

/// The object that BODY is. Names that are repeated are what they are to most readers: the last.
Result<json> ReadObject(std::string_view body) {
  json object = json::parse(body, nullptr, false);
  if (!object.is_object()) return Fail(Code::kInvalid, "the body is not a JSON object");
  return object;
}

Status ReadJson(std::string_view body, Known& known) {
  const auto object = ReadObject(body);
  if (!object) return tl::unexpected(object.error());
  for (const auto& [name, value] : object->items()) {
    auto* const place = known.Find(name);
    if (place == nullptr || value.is_null()) continue;
    if (!value.is_string()) return Fail(Code::kInvalid, "a parameter is not a string");
    *place = value.get<std::string>();
  }
  return {};
}

/// The type of a body, without its parameters.
std::string_view MediaType(const Headers& headers) {
  const std::string* field = headers.Find("content-type");
  if (field == nullptr) return {};
  std::string_view type = std::string_view(*field).substr(0, field->find(';'));
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.remove_suffix(1);
  return type;
}

Status ReadBody(const Headers& headers, std::string_view body, Known& known) {
  if (headers.Find("content-encoding") != nullptr) {
    return Fail(Code::kInvalid, "the body has a content coding");
  }
  const std::string_view type = MediaType(headers);
  if (EqualsIgnoreCase(type, kJson)) return ReadJson(body, known);
  if (EqualsIgnoreCase(type, kForm)) return ReadForm(body, known);
  return Fail(Code::kInvalid, "the body is not " + std::string(kForm));
}

/// PART of a pair, and what it is when its client encoded it.
std::vector<std::string> Spellings(std::string part) {
  auto decoded = FormDecoded(part);
  std::vector<std::string> spellings;
  if (decoded && *decoded != part) spellings.push_back(*std::move(decoded));
  spellings.push_back(std::move(part));
  return spellings;
}

/// What `Basic` in HEADERS says, added to PARAMETERS.
void ReadBasic(const Headers& headers, TokenParameters& parameters) {
  const std::string* field = headers.Find("authorization");
  const auto pair = field != nullptr ? secrets::DecodeBasic(*field) : std::nullopt;
  if (!pair) return;
  const size_t colon = std::min(pair->find(':'), pair->size());
  auto user = Spellings(pair->substr(0, colon));
  auto password = Spellings(pair->substr(std::min(colon + 1, pair->size())));
  auto& credentials = parameters.credentials;
  credentials.insert(credentials.end(), user.begin(), user.end());
  credentials.insert(credentials.end(), password.begin(), password.end());
  parameters.client_ids.push_back(std::move(user));
}

std::vector<std::string> Words(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (!word.empty()) words.emplace_back(word);
  }
  return words;
}

}  // namespace

Result<TokenParameters> ReadTokenParameters(const Headers& headers, std::string_view body) {
  Known known;
  if (Status read = ReadBody(headers, body, known); !read) {
    return tl::unexpected(std::move(read).error());
  }
  if (!known.grant_type) return Fail(Code::kInvalid, "the body has no grant_type");
  TokenParameters parameters;
  parameters.grant_type = *std::move(known.grant_type);
  parameters.scopes = Words(known.scope.value_or(""));
  for (const auto& credential : {known.client_id, known.client_secret, known.refresh_token}) {
    if (credential) parameters.credentials.push_back(*credential);
  }
  if (known.client_id) parameters.client_ids.push_back({*std::move(known.client_id)});
  ReadBasic(headers, parameters);
  return parameters;
}

Result<InstallationParameters> ReadInstallationParameters(const Headers& headers,
                                                          std::string_view body) {
  InstallationParameters parameters;
  constexpr std::string_view kBearer = "bearer ";
  const std::string* field = headers.Find("authorization");
  if (field != nullptr &&
      EqualsIgnoreCase(std::string_view(*field).substr(0, kBearer.size()), kBearer)) {
    parameters.bearer = field->substr(kBearer.size());
  }
  if (body.find_first_not_of(" \t\r\n") == body.npos) return parameters;
  if (headers.Find("content-encoding") != nullptr) {
    return Fail(Code::kInvalid, "the body has a content coding");
  }
  const auto object = ReadObject(body);
  if (!object) return tl::unexpected(object.error());
  // By reference: to copy what is nested deeply takes as deep a stack.
  const auto repositories = object->find("repositories");
  if (repositories != object->end() && repositories->is_array()) {
    for (const json& name : *repositories) {
      if (name.is_string()) parameters.repositories.push_back(name.get<std::string>());
    }
  }
  const auto permissions = object->find("permissions");
  if (permissions != object->end() && permissions->is_object()) {
    for (const auto& [name, level] : permissions->items()) {
      if (level.is_string()) parameters.permissions.emplace_back(name, level.get<std::string>());
    }
  }
  std::sort(parameters.repositories.begin(), parameters.repositories.end());
  std::sort(parameters.permissions.begin(), parameters.permissions.end());
  return parameters;
}

}  // namespace sallyport::mitm
