#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/http_url.h"

namespace sallyport {

/// A variable of the user's environment.
struct EnvSource {
  std::string variable;
  bool operator==(const EnvSource&) const = default;
};

/// A file, without its last newline.
struct FileSource {
  std::string path;  ///< Absolute.
  bool operator==(const FileSource&) const = default;
};

/// What a program of the user's prints, without its last newline.
struct CommandSource {
  std::vector<std::string> argv;          ///< Never empty, never joined: no shell sees it.
  std::string folder;                     ///< Where it runs: the policy's.
  std::chrono::milliseconds lifetime{0};  ///< How long its output is good; 0: until it is refused.
  bool operator==(const CommandSource&) const = default;
};

/// A source that needs no server: what a secret, or a part of one below, is read from.
using PlainSource = std::variant<EnvSource, FileSource, CommandSource>;

/// An access token from a token endpoint (RFC 6749).
struct OAuth2Source {
  enum class Grant { kClientCredentials, kRefreshToken };
  enum class Auth { kBasic, kPost };  ///< How the client proves who it is; RFC 6749, 2.3.1.

  HttpUrl token_url;
  Grant grant = Grant::kClientCredentials;
  Auth auth = Auth::kBasic;
  std::string client_id;
  std::optional<PlainSource> client_secret;  ///< None: a public client.
  std::optional<PlainSource>
      refresh_token;  ///< Of kRefreshToken. A file is replaced when it rotates.
  std::vector<std::string> scopes;
  std::optional<std::string> audience;
  bool private_network = false;  ///< The endpoint may have a private address, or be on loopback.
  bool operator==(const OAuth2Source&) const = default;
};

/// A GitHub App's installation token.
struct GitHubAppSource {
  HttpUrl base_url;                       ///< Of the API; its target has no query.
  std::string app_id;                     ///< The app's number, or its client id.
  std::string installation_id;            ///< Digits.
  PlainSource private_key;                ///< PEM, RSA.
  std::vector<std::string> repositories;  ///< Empty: all of the installation.
  std::vector<std::pair<std::string, std::string>> permissions;  ///< Empty: all of the app.
  bool private_network = false;
  bool operator==(const GitHubAppSource&) const = default;
};

/// Where a secret's value comes from. Read by the broker, never by the warden.
using SecretSource =
    std::variant<EnvSource, FileSource, CommandSource, OAuth2Source, GitHubAppSource>;

/// Calls VISIT with each plain source that SOURCE is or is made from.
void VisitPlainSources(const SecretSource& source,
                       const std::function<void(const PlainSource&)>& visit);

/// Whether the value comes from a server.
inline bool NeedsNetwork(const SecretSource& source) {
  return std::holds_alternative<OAuth2Source>(source) ||
         std::holds_alternative<GitHubAppSource>(source);
}

/// Whether asking again can give another value.
inline bool IsRenewable(const SecretSource& source) {
  return NeedsNetwork(source) || std::holds_alternative<CommandSource>(source);
}

}  // namespace sallyport
