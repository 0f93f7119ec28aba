// Any bytes as a call of a token endpoint: the first line is its Authorization, the second its
// Content-Type, the rest its body. Whatever it says, one declared secret or none is chosen, and
// what is answered is JSON.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "mitm/token_endpoint.h"

namespace {

using namespace sallyport;
using namespace sallyport::mitm;

SecretSpec OAuth(const std::string& name, const std::string& client,
                 std::vector<std::string> scopes) {
  OAuth2Source source;
  source.client_id = client;
  source.scopes = std::move(scopes);
  SecretSpec spec;
  spec.name = name;
  spec.source = std::move(source);
  return spec;
}

SecretSpec App(const std::string& name, std::vector<std::string> repositories) {
  GitHubAppSource source;
  source.repositories = std::move(repositories);
  SecretSpec spec;
  spec.name = name;
  spec.source = std::move(source);
  return spec;
}

std::string_view TakeLine(std::string_view& bytes) {
  const std::string_view line = bytes.substr(0, bytes.find('\n'));
  bytes.remove_prefix(std::min(bytes.size(), line.size() + 1));
  return line;
}

void CheckChoice(const std::vector<SecretSpec>& secrets, const TokenChoice& choice) {
  static const secrets::Store store;
  SALLYPORT_CHECK(choice.chosen < secrets.size());
  const LocalAnswer answer =
      choice.refusal ? MakeTokenRefusal(*choice.refusal, 1, store)
                     : MakeTokenAnswer(secrets[choice.chosen], "placeholder",
                                       std::chrono::seconds(60), std::chrono::system_clock::now());
  SALLYPORT_CHECK(nlohmann::json::parse(answer.body, nullptr, false).is_object());
  SALLYPORT_CHECK(choice.refusal.has_value() == (answer.head.status >= 400));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<SecretSpec> oauth = {
      OAuth("A", "me", {"read"}), OAuth("B", "me", {"read", "write"}), OAuth("C", "you", {})};
  static const std::vector<SecretSpec> apps = {App("A", {"one", "two"}), App("B", {})};
  static const std::vector<std::string> placeholders = {"ph-A", "ph-B", "ph-C"};
  if (size > 64 * 1024) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Headers headers;
  headers.Add("authorization", TakeLine(bytes));
  headers.Add("content-type", TakeLine(bytes));
  if (const auto read = ReadTokenParameters(headers, bytes)) {
    CheckChoice(oauth, ChooseTokenSecret(oauth, placeholders, *read));
  } else {
    SALLYPORT_CHECK(!read.error().message().empty());
  }
  if (const auto read = ReadInstallationParameters(headers, bytes)) {
    CheckChoice(apps, ChooseTokenSecret(apps, placeholders, *read));
  }
  return 0;
}
