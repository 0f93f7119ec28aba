#include "runtime/broker/server_list.h"

#include <utility>

namespace sallyport::runtime {

Result<ServerList> ServerList::Make(const std::vector<BrokerLaunch::Server>& servers,
                                    std::vector<secrets::Secret> keys) {
  ServerList made;
  made.keys = std::move(keys);  // Its elements are pointed at, and stay where they are.
  size_t next_key = 0;
  for (const auto& server : servers) {
    auto host = HostPattern::Parse(server.host);
    if (!host) return tl::unexpected(std::move(host).error().In(server.declared_at));
    mitm::DeclaredServer declared{
        .host = *std::move(host), .roots = {}, .pins = server.pins, .client = {}};
    for (const auto& [name, pem] : server.roots) declared.roots.push_back({name, pem});
    if (server.client) {
      if (next_key == made.keys.size()) {
        return Fail(Code::kInvalid, server.declared_at + ": the key was not read");
      }
      const auto& [name, pem] = server.client->chain;
      declared.client = {{name, pem}, server.client->key_file, &made.keys[next_key++]};
    }
    made.list.push_back(std::move(declared));
  }
  return made;
}

}  // namespace sallyport::runtime
