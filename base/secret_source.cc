#include "base/secret_source.h"

namespace sallyport {

void VisitPlainSources(const SecretSource& source,
                       const std::function<void(const PlainSource&)>& visit) {
  if (const auto* env = std::get_if<EnvSource>(&source)) return visit(*env);
  if (const auto* file = std::get_if<FileSource>(&source)) return visit(*file);
  if (const auto* command = std::get_if<CommandSource>(&source)) return visit(*command);
  if (const auto* oauth = std::get_if<OAuth2Source>(&source)) {
    if (oauth->client_secret) visit(*oauth->client_secret);
    if (oauth->refresh_token) visit(*oauth->refresh_token);
    return;
  }
  visit(std::get<GitHubAppSource>(source).private_key);
}

}  // namespace sallyport
