#include "secrets/answer_filter.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

namespace sallyport::secrets {
namespace {

using Lengths = AnswerFilter::Lengths;

/// Messages behind their sizes, whatever the messages are made of (application/grpc+json).
constexpr std::array kFramed = std::to_array<std::string_view>({
    "application/connect+",
    "application/grpc",
});

constexpr std::array kText = std::to_array<std::string_view>({
    "application/ecmascript",   "application/graphql",
    "application/javascript",   "application/json",
    "application/json-seq",     "application/jsonl",
    "application/jsonlines",    "application/jwt",
    "application/ndjson",       "application/pem-certificate-chain",
    "application/sql",          "application/toml",
    "application/x-javascript", "application/x-jsonlines",
    "application/x-ndjson",     "application/x-pem-file",
    "application/x-sh",         "application/x-www-form-urlencoded",
    "application/x-yaml",       "application/xml",
    "application/yaml",         "multipart/form-data",
    "multipart/mixed",
});
constexpr std::array kTextSuffixes = std::to_array<std::string_view>({"+json", "+xml", "+yaml"});

std::string TypeOf(std::string_view field) {
  constexpr std::string_view kSpace = " \t";
  std::string type(field.substr(0, field.find(';')));
  type.erase(0, std::min(type.find_first_not_of(kSpace), type.size()));
  type.erase(type.find_last_not_of(kSpace) + 1);
  for (char& c : type) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return type;
}

bool IsText(std::string_view type) {
  const auto begins = [type](std::string_view known) { return type.starts_with(known); };
  const auto ends = [type](std::string_view known) { return type.ends_with(known); };
  if (std::any_of(kFramed.begin(), kFramed.end(), begins)) return false;
  return type.starts_with("text/") || std::find(kText.begin(), kText.end(), type) != kText.end() ||
         std::any_of(kTextSuffixes.begin(), kTextSuffixes.end(), ends);
}

}  // namespace

Lengths LengthsFor(const Headers& headers) {
  const std::vector<std::string_view> types = headers.FindAll("content-type");
  if (types.empty()) return Lengths::kMayChange;
  return types.size() == 1 && IsText(TypeOf(types.front())) ? Lengths::kMayChange : Lengths::kKept;
}

}  // namespace sallyport::secrets
