#include "runtime/warden/declared_servers.h"

#include <algorithm>

namespace sallyport::runtime {

namespace {

using Files = std::vector<std::pair<std::string, std::string>>;

/// The name that the broker knows the key of the server at INDEX by: no secret of a policy can have
/// it.
std::string KeyName(size_t index) {
  return "client key " + std::to_string(index);
}

Result<mitm::RootBundle> Find(const Files& files, const std::string& name) {
  const auto found = std::find_if(files.begin(), files.end(),
                                  [&name](const auto& file) { return file.first == name; });
  if (found == files.end()) return Fail(Code::kInvalid, name + " is missing");
  return mitm::RootBundle{found->first, found->second};
}

}  // namespace

std::vector<SecretSpec> ClientKeySpecs(const policy::UpstreamOptions& upstream) {
  std::vector<SecretSpec> specs;
  for (size_t i = 0; i < upstream.servers.size(); ++i) {
    const auto& server = upstream.servers[i];
    if (!server.client_cert) continue;
    SecretSpec& spec = specs.emplace_back();
    spec.name = KeyName(i);
    spec.source = {SecretSource::Kind::kFile, server.client_cert->key_file};
    spec.expose = false;
    spec.declared_at = server.declared_at;
  }
  return specs;
}

Result<DeclaredServers> DeclaredServers::Read(const policy::UpstreamOptions& upstream,
                                              const Files& files, Broker* broker) {
  DeclaredServers servers;
  servers.keys.reserve(upstream.servers.size());  // Its elements are pointed at.
  for (size_t i = 0; i < upstream.servers.size(); ++i) {
    const auto& declared = upstream.servers[i];
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
      if (broker == nullptr) return Fail(Code::kSystem, "there is no broker to read a key");
      auto key = broker->Read(KeyName(i), secrets::Secret::Form::kFile);
      if (!key) {
        return tl::unexpected(std::move(key).error().In(declared.declared_at + ": client_cert"));
      }
      servers.keys.push_back(*std::move(key));
      server.client = {*std::move(chain), declared.client_cert->key_file, &servers.keys.back()};
    }
    servers.list.push_back(std::move(server));
  }
  return servers;
}

}  // namespace sallyport::runtime
