#include "runtime/api/host_resolvers.h"

#include <string_view>

#include "base/address_class.h"
#include "runtime/api/files.h"

namespace sallyport {

std::vector<Endpoint> HostResolvers() {
  std::vector<Endpoint> resolvers;
  const auto text = ReadFile("/etc/resolv.conf", 64 * 1024);
  if (!text) return resolvers;
  for (const auto line : Lines(*text)) {
    constexpr std::string_view kWord = "nameserver";
    if (!line.starts_with(kWord)) continue;
    auto value = line.substr(kWord.size());
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t'))
      value.remove_prefix(1);
    if (const auto end = value.find_first_of(" \t%#;"); end != value.npos)
      value = value.substr(0, end);
    if (const auto endpoint = Endpoint::Parse(value, 53)) resolvers.push_back(*endpoint);
  }
  return resolvers;
}

std::optional<std::string> FakeResolver(const std::vector<Endpoint>& resolvers) {
  for (const Endpoint& resolver : resolvers) {
    if (Classify(resolver.address) != AddressClass::kReserved) continue;
    return "the host's resolver " + resolver.address.ToString() +
           " has a reserved address, as of a program that answers names with made-up addresses, "
           "which are refused; name the resolver behind it: dns { resolvers = { … } } or "
           "--resolver";
  }
  return std::nullopt;
}

}  // namespace sallyport
