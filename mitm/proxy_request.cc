#include "mitm/proxy_request.h"

#include <algorithm>

namespace sallyport::mitm {
namespace {

constexpr std::string_view kScheme = "http://";

bool StartsWithIgnoreCase(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && EqualsIgnoreCase(text.substr(0, prefix.size()), prefix);
}

ProxyRequest Bad(std::string error) {
  ProxyRequest request;
  request.error = std::move(error);
  return request;
}

/// What stands in front of an authority in an absolute target: "http", or nothing for no such form.
std::string_view SchemeOf(std::string_view target) {
  const size_t end = target.find("://");
  return end == std::string_view::npos ? std::string_view() : target.substr(0, end);
}

/// Why the fields of a CONNECT do not agree with AUTHORITY; empty when they do.
std::string CheckTunnelFields(const http1::RawHead& head, const Authority& authority) {
  if (head.headers.Count("transfer-encoding") > 0) return "a CONNECT request has no body";
  for (const std::string_view length : head.headers.FindAll("content-length")) {
    if (length != "0") return "a CONNECT request has no body";
  }
  const auto hosts = head.headers.FindAll("host");
  if (hosts.empty() && head.minor_version > 0) return "no Host field";
  if (hosts.size() > 1) return "more than one Host field";
  if (hosts.empty()) return {};
  const auto named = ParseAuthority(hosts[0]);
  if (!named || named->host != authority.host ||
      named->port.value_or(*authority.port) != *authority.port) {
    return "the Host field names another host than the CONNECT";
  }
  return {};
}

ProxyRequest ReadTunnel(const http1::RawHead& head) {
  auto authority = ParseAuthority(head.target);
  if (!authority || !authority->port) return Bad("the target of CONNECT is not host:port");
  if (auto error = CheckTunnelFields(head, *authority); !error.empty()) {
    return Bad(std::move(error));
  }
  ProxyRequest request;
  request.kind = ProxyRequest::Kind::kTunnel;
  request.port = *authority->port;
  request.host = std::move(authority->host);
  return request;
}

}  // namespace

ProxyRequest ReadProxyRequest(const http1::RawHead& head) {
  if (head.method == "CONNECT") return ReadTunnel(head);
  const std::string_view target = head.target;
  if (!StartsWithIgnoreCase(target, kScheme)) {
    const std::string_view scheme = SchemeOf(target);
    if (EqualsIgnoreCase(scheme, "https")) return Bad("https goes through the proxy by CONNECT");
    return Bad("this port is an HTTP proxy: it takes CONNECT host:port and http://host/… targets");
  }
  const std::string_view rest = target.substr(kScheme.size());
  auto authority = ParseAuthority(rest.substr(0, std::min(rest.find_first_of("/?"), rest.size())));
  if (!authority) return Bad("the request target's authority is not a host");
  ProxyRequest request;
  request.kind = ProxyRequest::Kind::kForward;
  request.port = authority->port.value_or(80);
  request.host = std::move(authority->host);
  return request;
}

std::string ReplayHead(const http1::RawHead& head, const ProxyRequest& request) {
  std::string bytes = head.method + " " + head.target;
  bytes += head.minor_version > 0 ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n";
  if (request.host && head.minor_version == 0 && head.headers.Count("host") == 0) {
    bytes += "Host: " + ToString(*request.host) + ":" + std::to_string(request.port) + "\r\n";
  }
  bytes += "Connection: close\r\n";
  for (const HeaderField& field : head.headers.fields()) {
    bytes += field.name + ": " + field.value + "\r\n";
  }
  return bytes + "\r\n";
}

}  // namespace sallyport::mitm
