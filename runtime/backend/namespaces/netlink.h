#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace sallyport::runtime {

/// Changes of the network of the namespace we are in, sent to the kernel in one go. They apply in
/// order; the first that fails is the error.
class NetlinkBatch {
 public:
  /// Link settings while it is down. A MAC of six bytes; none for null.
  void ConfigureLink(unsigned index, unsigned mtu, const uint8_t* mac, unsigned queue_length);
  /// No link-local address of the kernel's making, and so none of its multicast chatter.
  void SetNoLinkLocal(unsigned index);
  void SetUp(unsigned index);
  void AddAddress(unsigned index, int family, const char* address, uint8_t prefix_length);
  void AddDefaultRoute(unsigned index, int family, const char* gateway);
  /// A neighbour that never has to be asked for.
  void AddNeighbour(unsigned index, int family, const char* address, const uint8_t* mac);
  /// A pair of links: NAME here, PEER in the network namespace PEER_NAMESPACE.
  void AddVethPair(std::string_view name, std::string_view peer, int peer_namespace);

  Status Send();

 private:
  void Begin(uint16_t type, uint16_t flags, const char* what);
  void BeginLink(unsigned index, unsigned flags, uint16_t message_flags, const char* what);
  void End();
  void Append(const void* bytes, size_t size);
  void Attribute(uint16_t type, const void* bytes, size_t size);
  void Attribute(uint16_t type, uint32_t value) { Attribute(type, &value, sizeof value); }
  void AddressAttribute(uint16_t type, int family, const char* address);
  size_t BeginNested(uint16_t type);
  void EndNested(size_t at);
  Status ReadAnswers(int socket) const;

  std::string bytes_;
  size_t message_ = 0;                ///< Where the current message starts.
  std::vector<const char*> changes_;  ///< What each message does, for errors.
};

}  // namespace sallyport::runtime
