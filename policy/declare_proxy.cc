#include "base/no_proxy.h"
#include "base/proxy_url.h"
#include "policy/declarations.h"

// `upstream { proxy = …, no_proxy = … }`: the proxy that the host itself is behind. A password in
// it is never quoted, and may not stand in the file: the file goes to places where no secret does.

namespace sallyport::policy {
namespace {

constexpr char kEnvironment[] = "environment";
constexpr char kForms[] =
    "a URL like \"http://proxy.corp.example:3128\", env \"HTTPS_PROXY\", file \"path\", or "
    "\"environment\"";

void TakeUrl(TableReader& reader, const std::string& text, ProxySpec& proxy) {
  if (text == kEnvironment) {
    proxy.from = ProxySpec::From::kEnvironment;
    return;
  }
  if (Nearest(text, {kEnvironment}) == kEnvironment) {
    return reader.Error("'proxy' must be " + std::string(kForms) + "; did you mean 'environment'?");
  }
  auto url = ProxyUrl::Parse(text);
  if (!url) return reader.Error("'proxy': " + url.error().message());
  if (!url->credentials.empty()) {
    return reader.Error(
        "'proxy': a user and password don't stand in a policy; write proxy = env \"HTTPS_PROXY\" "
        "or "
        "proxy = file \"path\", which hold the whole URL");
  }
  if (!text.starts_with("http://")) {
    return reader.Error("'proxy' must be " + std::string(kForms) + ", not \"" +
                        Printable(text, 80) + "\"");
  }
  proxy.url = text;
}

void TakeSource(TableReader& reader, ProxySpec& proxy) {
  auto source = ReadSource(reader, "proxy");
  if (!source) return;
  if (!std::holds_alternative<EnvSource>(*source) && !std::holds_alternative<FileSource>(*source)) {
    return reader.Error("'proxy' must be " + std::string(kForms));
  }
  proxy.from = ProxySpec::From::kSource;
  proxy.source = *std::move(source);
}

void TakeExceptions(TableReader& reader, ProxySpec& proxy) {
  proxy.no_proxy = reader.Strings("no_proxy");
  NoProxy list;
  for (const auto& entry : proxy.no_proxy) {
    auto added = list.Add(entry);
    if (added) continue;
    reader.Error(
        "'no_proxy': '" + Printable(entry, 80) + "': " + Printable(added.error().message(), 200) +
        "; entries are \"api.corp.example\", \"*.corp.example\" (each also with \":port\"), "
        "an address, \"10.0.0.0/8\", or \"*\"");
  }
}

}  // namespace

void ReadProxy(TableReader& reader, Loader& loader) {
  if (!reader.Has("proxy")) {
    if (reader.Has("no_proxy")) reader.Error("'no_proxy' has no effect without 'proxy'");
    return;
  }
  ProxySpec proxy;
  proxy.declared_at = loader.diagnostics.At(reader.line());
  if (IsSource(reader, "proxy")) {
    TakeSource(reader, proxy);
  } else if (const auto text = reader.String("proxy")) {
    TakeUrl(reader, *text, proxy);
  }
  TakeExceptions(reader, proxy);
  loader.declared.upstream.proxy = std::move(proxy);
}

}  // namespace sallyport::policy
