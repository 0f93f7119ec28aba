#include "runtime/warden/declared_servers.h"

#include <algorithm>

namespace sallyport::runtime {

namespace {

using Files = std::vector<std::pair<std::string, std::string>>;

Result<Files::value_type> Find(const Files& files, const std::string& name) {
  const auto found = std::find_if(files.begin(), files.end(),
                                  [&name](const auto& file) { return file.first == name; });
  if (found == files.end()) return Fail(Code::kInvalid, name + " is missing");
  return *found;
}

}  // namespace

std::vector<BrokerLaunch::Item> ClientKeys(const policy::UpstreamOptions& upstream) {
  std::vector<BrokerLaunch::Item> keys;
  for (const auto& server : upstream.servers) {
    if (!server.client_cert) continue;
    // The name is for messages: no secret of a policy can have it.
    keys.push_back({server.declared_at + ": client_cert", FileSource{server.client_cert->key_file}});
  }
  return keys;
}

std::vector<BrokerLaunch::Item> ProxyItems(const policy::UpstreamOptions& upstream) {
  std::vector<BrokerLaunch::Item> items;
  if (!upstream.proxy) return items;
  for (auto& source : upstream.proxy->Sources()) {
    items.push_back({upstream.proxy->declared_at + ": proxy", std::move(source)});
  }
  return items;
}

Result<std::vector<BrokerLaunch::Server>> Servers(const policy::UpstreamOptions& upstream,
                                                  const Files& files) {
  std::vector<BrokerLaunch::Server> servers;
  for (const auto& declared : upstream.servers) {
    auto& server = servers.emplace_back();
    server.host = declared.host.ToString();
    server.declared_at = declared.declared_at;
    server.pins = declared.pins;
    for (const auto& name : declared.ca_files) {
      auto file = Find(files, name);
      if (!file) return tl::unexpected(std::move(file).error());
      server.roots.push_back(*std::move(file));
    }
    if (!declared.client_cert) continue;
    auto chain = Find(files, declared.client_cert->cert_file);
    if (!chain) return tl::unexpected(std::move(chain).error());
    server.client = {*std::move(chain), declared.client_cert->key_file};
  }
  return servers;
}

}  // namespace sallyport::runtime
