#include "policy/gate_address.h"

#include <algorithm>

#include "base/address_class.h"

namespace sallyport::policy {
namespace {

// Whether the host would take ADDRESS for itself.
bool IsLoopbackOrNone(const IpAddress& address) {
  const IpAddress plain = Unmapped(address);
  const auto bytes = plain.bytes();
  return Classify(plain) == AddressClass::kLoopback ||
         std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

}  // namespace

bool IsGate(const IpAddress& address) {
  static const IpAddress kV4 = *IpAddress::Parse(kGateV4);
  static const IpAddress kV6 = *IpAddress::Parse(kGateV6);
  return Unmapped(address) == kV4 || address == kV6;
}

std::optional<Refusal> RefuseByAddress(const Facts& facts) {
  const IpAddress& address = facts.destination.address;
  Refusal refusal;
  refusal.reason = Reason::kAddressRefused;
  if (IsLoopbackOrNone(address)) {
    refusal.detail = address.ToString() + " would be the host itself";
    refusal.how_to_allow = "a rule for a name, with to = \"" + ToString(Host(address)) + ":PORT\"";
    return refusal;
  }
  if (IsGate(address) && facts.transport != Transport::kIcmp) {
    refusal.detail = address.ToString() + " is the gate itself: DNS at port 53, a proxy at port 3128";
    return refusal;
  }
  return std::nullopt;
}

}  // namespace sallyport::policy
