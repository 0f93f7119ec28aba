#include "runtime/warden/inbound.h"

#include <utility>

#include "guest/protocol/messages.h"
#include "runtime/backend/backend.h"

namespace sallyport::runtime {
namespace {

/// Where a server in the sandbox may listen, loopback first: what listens on all addresses, as most
/// do, answers there too.
std::vector<std::string> ServerAddresses() {
  std::vector<std::string> addresses;
  for (const char* text : {"127.0.0.1", "::1", GuestNetwork::kGuestV4, GuestNetwork::kGuestV6}) {
    const auto address = IpAddress::Parse(text);
    const auto bytes = address->bytes();
    addresses.emplace_back(bytes.begin(), bytes.end());
  }
  return addresses;
}

}  // namespace

AuditRecord InboundRecord(const PublishedPort& port, const Endpoint& client) {
  AuditRecord record;
  record.transport = ToString(port.transport);
  record.direction = "in";
  record.address = client.address;
  record.port = port.guest;
  record.rule = "port " + port.host.ToString();
  return record;
}

void Inbound::Dial() {
  guest::Dial dial;
  dial.transport = facts_.port.transport == Transport::kTcp ? guest::Dial::Transport::kTcp
                                                            : guest::Dial::Transport::kUdp;
  dial.port = facts_.port.guest;
  dial.addresses = ServerAddresses();
  services_.agent.Send(guest::FrameType::kDial, facts_.stream, dial.Encode());
}

void Inbound::Tell(Reason reason, std::string detail) {
  if (std::exchange(over_, true)) return;
  AuditRecord record = InboundRecord(facts_.port, facts_.client);
  record.flow = facts_.stream;
  record.allowed = reason == Reason::kAllowed;
  record.reason = reason;
  record.detail = std::move(detail);
  record.bytes_up = bytes_up();
  record.bytes_down = bytes_down();
  record.duration =
      std::chrono::duration_cast<std::chrono::microseconds>(services_.loop.now() - began_);
  services_.audit.Write(record);
}

void Inbound::SendError() {
  services_.agent.Send(guest::FrameType::kError, facts_.stream,
                       guest::ErrorMessage{.exit_code = 1, .message = "reset"}.Encode());
}

}  // namespace sallyport::runtime
