#include "runtime/dial/parent_proxy.h"

#include <utility>

#include "base/address_class.h"
#include "base/proxy_url.h"
#include "secrets/basic_auth.h"

namespace sallyport::runtime {

namespace {

/// The value of the first of the two that is set.
std::string_view Either(std::string_view first, std::string_view second) {
  return first.empty() ? second : first;
}

bool IsLocalhost(const HostName& name) {
  static const HostName kLocalhost = *HostName::Parse("localhost");
  return name == kLocalhost || name.IsBelow(kLocalhost);  // RFC 6761, 6.3.
}

/// Addresses that mean another machine when another machine is asked for them.
bool IsHostsOwn(const IpAddress& address) {
  switch (Classify(address)) {
    case AddressClass::kLoopback:
    case AddressClass::kLinkLocal:
    case AddressClass::kMetadata:
      return true;
    default:
      return false;
  }
}

Result<std::optional<secrets::Secret>> Authorization(std::string& credentials) {
  if (credentials.empty()) return std::nullopt;
  std::string basic = secrets::EncodeBasic(credentials);
  secrets::WipeString(credentials);
  auto kept = secrets::Secret::Create(basic);
  secrets::WipeString(basic);
  if (!kept) return tl::unexpected(std::move(kept).error());
  return *std::move(kept);
}

}  // namespace

Result<std::unique_ptr<ParentProxy>> ParentProxy::Make(
    const ProxySpec& spec, const std::vector<std::string_view>& values) {
  const auto value = [&](size_t i) { return i < values.size() ? values[i] : std::string_view(); };
  const bool environment = spec.from == ProxySpec::From::kEnvironment;
  std::string_view text = spec.url;
  if (spec.from == ProxySpec::From::kSource) text = value(0);
  if (environment) text = Either(value(0), value(1));
  if (environment && text.empty()) return nullptr;

  auto url = ProxyUrl::Parse(text);
  if (!url) return tl::unexpected(std::move(url).error());
  auto authorization = Authorization(url->credentials);
  if (!authorization) return tl::unexpected(std::move(authorization).error());
  std::unique_ptr<ParentProxy> proxy(new ParentProxy(url->host, url->port));
  proxy->authorization_ = *std::move(authorization);
  for (const auto& entry : spec.no_proxy) {
    if (auto added = proxy->skipped_.Add(entry); !added) {
      return tl::unexpected(std::move(added).error().In("no_proxy"));
    }
  }
  if (environment) proxy->skipped_.AddVariable(Either(value(2), value(3)));
  return proxy;
}

bool ParentProxy::Skips(const Host& host, uint16_t port) const {
  const auto* address = std::get_if<IpAddress>(&host);
  if (address != nullptr ? IsHostsOwn(*address) : IsLocalhost(std::get<HostName>(host))) {
    return true;
  }
  return skipped_.Matches(host, port);
}

std::string ParentProxy::Request(const Host& host, uint16_t port) const {
  const std::string target = ToString(host) + ":" + std::to_string(port);
  constexpr size_t kWords = 80;  // The request's own words and line ends, and more.
  std::string request;
  request.reserve(2 * target.size() + kWords + (authorization_ ? authorization_->size() : 0));
  request.append("CONNECT ").append(target).append(" HTTP/1.1\r\nHost: ").append(target);
  if (authorization_) {
    request.append("\r\nProxy-Authorization: ").append(authorization_->Reveal());
  }
  return request.append("\r\n\r\n");
}

}  // namespace sallyport::runtime
