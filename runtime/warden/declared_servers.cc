#include "runtime/warden/declared_servers.h"

#include <algorithm>

namespace sallyport::runtime {

namespace {

using Files = std::vector<std::pair<std::string, std::string>>;

Result<mitm::RootBundle> Find(const Files& files, const std::string& name) {
  const auto found = std::find_if(files.begin(), files.end(),
                                  [&name](const auto& file) { return file.first == name; });
  if (found == files.end()) return Fail(Code::kInvalid, name + " is missing");
  return mitm::RootBundle{found->first, found->second};
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

Result<DeclaredServers> DeclaredServers::Make(const policy::UpstreamOptions& upstream,
                                              const Files& files,
                                              std::vector<secrets::Secret> keys) {
  DeclaredServers servers;
  servers.keys = std::move(keys);  // Its elements are pointed at, and stay where they are.
  size_t next_key = 0;
  for (const auto& declared : upstream.servers) {
    mitm::DeclaredServer server{
        .host = declared.host, .roots = {}, .pins = declared.pins, .client = {}};
    for (const auto& file : declared.ca_files) {
      auto bundle = Find(files, file);
      if (!bundle) return tl::unexpected(std::move(bundle).error());
      server.roots.push_back(*std::move(bundle));
    }
    if (declared.client_cert) {
      auto chain = Find(files, declared.client_cert->cert_file);
      if (!chain) return tl::unexpected(std::move(chain).error());
      if (next_key == servers.keys.size()) {
        return Fail(Code::kInvalid, declared.declared_at + ": the key was not read");
      }
      server.client = {*std::move(chain), declared.client_cert->key_file,
                       &servers.keys[next_key++]};
    }
    servers.list.push_back(std::move(server));
  }
  return servers;
}

}  // namespace sallyport::runtime
