#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runtime/warden/published_port.h"

namespace sallyport {

/// "[BIND:]HOST:GUEST[/tcp|/udp]": "8080:80", "0.0.0.0:8080:80", "[::1]:5353:53/udp". Without BIND
/// it is 127.0.0.1; HOST 0 is any that is free. kInvalid with what to write instead.
Result<runtime::PublishedPort> ParsePort(std::string_view text);

/// "127.0.0.1:8080 leads to port 80 inside", with "(udp)".
std::string Describe(const runtime::PublishedPort& port);

/// Sockets for PORTS, listening where they are TCP; BOUND gets them as they are, a port that was
/// chosen included. The message of an error says what is in the way, and what to do.
Result<std::vector<UniqueFd>> BindPorts(const std::vector<runtime::PublishedPort>& ports,
                                        std::vector<runtime::PublishedPort>& bound);

/// A port that leads into a running sandbox.
struct SandboxPort {
  std::string transport;  ///< "tcp", "udp".
  std::string host;       ///< "127.0.0.1:8080".
  std::string guest;
  std::string open;  ///< Connections or clients, now; empty where it was not asked for.
};

/// Of SANDBOX, an id or the beginning of just one.
Result<std::vector<SandboxPort>> PortsOfSandbox(std::string_view sandbox);
/// Binds PORT here and gives it to the sandbox.
Result<SandboxPort> PublishPort(std::string_view sandbox, const runtime::PublishedPort& port);
/// Takes back "[BIND:]HOST[/udp]", on every address where BIND is missing; returns what there was.
/// What goes through it ends.
Result<std::vector<SandboxPort>> WithdrawPort(std::string_view sandbox, std::string_view port);

}  // namespace sallyport
