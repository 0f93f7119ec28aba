#include "runtime/api/ports.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <utility>

#include "runtime/api/control.h"
#include "runtime/warden/launch.h"

namespace sallyport {
namespace {

using runtime::PublishedPort;

constexpr const char* kForm = "write [BIND:]HOST:GUEST[/udp], as 8080:80 or [::1]:8080:80";
constexpr const char* kHostForm = "write [BIND:]HOST[/udp], as 8080 or 127.0.0.1:8080/udp";
constexpr int kBacklog = 128;

std::optional<uint16_t> ParseNumber(std::string_view text) {
  uint16_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// Cuts "/tcp" or "/udp" off the end of TEXT.
std::optional<Transport> TakeTransport(std::string_view& text) {
  const size_t slash = text.rfind('/');
  if (slash == text.npos) return Transport::kTcp;
  const std::string_view word = text.substr(slash + 1);
  text = text.substr(0, slash);
  if (word == "tcp") return Transport::kTcp;
  if (word == "udp") return Transport::kUdp;
  return std::nullopt;
}

/// Cuts "ADDRESS:" off the beginning of TEXT, of which PORTS numbers with colons between them are
/// to be left. Nothing at all where what stands there is no address.
struct Bind {
  std::optional<IpAddress> address;
};
std::optional<Bind> TakeAddress(std::string_view& text, int ports) {
  size_t at = text.npos;
  for (int i = 0; i < ports; ++i) {
    at = at == 0 ? text.npos : text.rfind(':', at == text.npos ? at : at - 1);
    if (at == text.npos) return Bind{};
  }
  std::string_view address = text.substr(0, at);
  const bool brackets = address.starts_with('[') && address.ends_with(']');
  if (brackets) address = address.substr(1, address.size() - 2);
  const auto parsed = IpAddress::Parse(address);
  if (!parsed || parsed->is_v6() != brackets) return std::nullopt;
  text = text.substr(at + 1);
  return Bind{.address = parsed};
}

/// What stands in the way of binding PORT, for the ERROR of the kernel's.
std::string Obstacle(const PublishedPort& port, int error) {
  const std::string number = std::to_string(port.host.port);
  const std::string transport(ToString(port.transport));
  switch (error) {
    case EADDRINUSE:
      return "port " + number + "/" + transport + " of " + port.host.address.ToString() +
             " is in use; choose another, or 0 for any that is free (`ss -lnp" +
             transport.substr(0, 1) + "` shows who has it)";
    case EACCES:
      return "port " + number +
             " needs privileges; choose one from 1024 on (or, as root: sysctl "
             "net.ipv4.ip_unprivileged_port_start=" +
             number + ")";
    case EADDRNOTAVAIL:
      return "this host has no address " + port.host.address.ToString() +
             "; `ip addr` shows those it has";
    default:
      errno = error;
      return Error::FromErrno("binding " + port.host.ToString()).message();
  }
}

int TurnOn(const UniqueFd& socket, int level, int option) {
  const int on = 1;
  return setsockopt(socket.get(), level, option, &on, sizeof on);
}

Result<UniqueFd> BindPort(PublishedPort& port) {
  const auto fail = [&port] { return Fail(Code::kSystem, Obstacle(port, errno)); };
  sockaddr_storage name{};
  socklen_t size = port.host.ToSockaddr(name);
  const bool tcp = port.transport == Transport::kTcp;
  UniqueFd socket(::socket(name.ss_family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return fail();
  // Connections of the last sandbox that had this port don't keep it.
  if (tcp && TurnOn(socket, SOL_SOCKET, SO_REUSEADDR) != 0) return fail();
  // [::] is IPv6 alone: who wants both says both.
  if (port.host.address.is_v6() && TurnOn(socket, IPPROTO_IPV6, IPV6_V6ONLY) != 0) return fail();
  auto* address = reinterpret_cast<sockaddr*>(&name);
  if (bind(socket.get(), address, size) != 0) return fail();
  if (tcp && listen(socket.get(), kBacklog) != 0) return fail();
  size = sizeof name;
  if (getsockname(socket.get(), address, &size) != 0) return fail();
  port.host = *Endpoint::FromSockaddr(name);
  return socket;
}

std::vector<SandboxPort> PortsOf(const runtime::ControlReply& reply) {
  std::vector<SandboxPort> ports;
  for (const auto& row : reply.rows) {
    if (row.size() < 3) continue;
    ports.push_back({row[0], row[1], row[2], row.size() > 3 ? row[3] : ""});
  }
  return ports;
}

}  // namespace

Result<PublishedPort> ParsePort(std::string_view text) {
  PublishedPort port;
  const auto transport = TakeTransport(text);
  if (!transport) return Fail(Code::kInvalid, std::string("neither tcp nor udp; ") + kForm);
  port.transport = *transport;
  const auto bind = TakeAddress(text, 2);
  if (!bind) return Fail(Code::kInvalid, std::string("BIND is no address of this host; ") + kForm);
  port.host.address = bind->address.value_or(IpAddress::V4(127, 0, 0, 1));
  const size_t colon = text.find(':');
  if (colon == text.npos) return Fail(Code::kInvalid, kForm);
  const auto host = ParseNumber(text.substr(0, colon));
  const auto guest = ParseNumber(text.substr(colon + 1));
  if (!host || !guest || *guest == 0) {
    return Fail(Code::kInvalid, std::string("a port is a number from 1 to 65535; ") + kForm);
  }
  port.host.port = *host;
  port.guest = *guest;
  return port;
}

std::string Describe(const PublishedPort& port) {
  return port.host.ToString() + " leads to port " + std::to_string(port.guest) + " inside" +
         (port.transport == Transport::kUdp ? " (udp)" : "");
}

Result<std::vector<UniqueFd>> BindPorts(const std::vector<PublishedPort>& ports,
                                        std::vector<PublishedPort>& bound) {
  if (ports.size() > runtime::kMaxPublishedPorts) {
    return Fail(Code::kLimit,
                std::to_string(runtime::kMaxPublishedPorts) + " ports at most lead into a sandbox");
  }
  std::vector<UniqueFd> sockets;
  for (PublishedPort port : ports) {
    auto socket = BindPort(port);
    if (!socket) return tl::unexpected(std::move(socket).error());
    sockets.push_back(*std::move(socket));
    bound.push_back(port);
  }
  return sockets;
}

Result<std::vector<SandboxPort>> PortsOfSandbox(std::string_view sandbox) {
  auto reply = AskSandbox(sandbox, {"port ls", {}});
  if (!reply) return tl::unexpected(std::move(reply).error());
  return PortsOf(*reply);
}

Result<SandboxPort> PublishPort(std::string_view sandbox, const PublishedPort& port) {
  PublishedPort bound = port;
  auto socket = BindPort(bound);
  if (!socket) return tl::unexpected(std::move(socket).error());
  auto reply = AskSandbox(sandbox, {"port add", {std::to_string(port.guest)}}, *socket);
  if (!reply) return tl::unexpected(std::move(reply).error());
  auto added = PortsOf(*reply);
  if (added.size() != 1) return Fail(Code::kInvalid, "the sandbox's answer is none");
  return added.front();
}

Result<std::vector<SandboxPort>> WithdrawPort(std::string_view sandbox, std::string_view port) {
  const auto transport = TakeTransport(port);
  const auto bind = TakeAddress(port, 1);
  const auto number = ParseNumber(port);
  if (!transport || !bind || !number || *number == 0) return Fail(Code::kInvalid, kHostForm);
  runtime::ControlRequest request{"port rm",
                                  {std::string(ToString(*transport)), std::to_string(*number)}};
  if (bind->address) request.arguments.push_back(bind->address->ToString());
  auto reply = AskSandbox(sandbox, request);
  if (!reply) return tl::unexpected(std::move(reply).error());
  return PortsOf(*reply);
}

}  // namespace sallyport
