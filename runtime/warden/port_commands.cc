#include "runtime/warden/port_commands.h"

#include <charconv>
#include <optional>
#include <utility>

namespace sallyport::runtime {
namespace {

std::optional<uint16_t> ParsePort(const std::string& text) {
  uint16_t port = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, port);
  if (error != std::errc() || stop != end || port == 0) return std::nullopt;
  return port;
}

std::vector<std::string> RowOf(const PublishedPort& port) {
  return {std::string(ToString(port.transport)), port.host.ToString(), std::to_string(port.guest)};
}

ControlReply Refused(std::string why) {
  return {.done = false, .text = std::move(why), .rows = {}};
}

}  // namespace

ControlReply PortCommands::Run(const ControlRequest& request, UniqueFd attached) {
  const auto& arguments = request.arguments;
  if (request.verb == "port ls" && arguments.empty()) return List();
  if (request.verb == "port add" && arguments.size() == 1) {
    return Add(arguments[0], std::move(attached));
  }
  if (request.verb == "port rm" && (arguments.size() == 2 || arguments.size() == 3)) {
    return Remove(arguments);
  }
  return Refused("this sandbox does not know " + request.verb);
}

/// At most kMaxPublishedPorts rows of less than a hundred bytes: well within a packet.
ControlReply PortCommands::List() const {
  ControlReply reply{.done = true, .text = "", .rows = {}};
  for (const auto& listed : ports_.List()) {
    auto& row = reply.rows.emplace_back(RowOf(listed.port));
    row.push_back(std::to_string(listed.open));
  }
  return reply;
}

ControlReply PortCommands::Add(const std::string& guest, UniqueFd socket) {
  const auto port = ParsePort(guest);
  if (!port) return Refused("'" + guest + "' is not a port");
  auto added = ports_.Add(std::move(socket), *port);
  if (!added) return Refused(added.error().message());
  Record("port add", *added);
  return {.done = true, .text = "", .rows = {RowOf(*added)}};
}

ControlReply PortCommands::Remove(const std::vector<std::string>& arguments) {
  const auto port = ParsePort(arguments[1]);
  std::optional<IpAddress> address;
  if (arguments.size() == 3) address = IpAddress::Parse(arguments[2]);
  const bool known = arguments[0] == "tcp" || arguments[0] == "udp";
  if (!known || !port || (arguments.size() == 3 && !address)) return Refused("that is no port");
  const auto removed =
      ports_.Remove(arguments[0] == "tcp" ? Transport::kTcp : Transport::kUdp, *port, address);
  if (removed.empty()) {
    return Refused("no such port leads into the sandbox; `sandboxctl port ls` shows those that do");
  }
  ControlReply reply{.done = true, .text = "", .rows = {}};
  for (const PublishedPort& gone : removed) {
    Record("port rm", gone);
    reply.rows.push_back(RowOf(gone));
  }
  return reply;
}

void PortCommands::Record(const char* verb, const PublishedPort& port) {
  AuditRecord record;
  record.transport = "control";
  record.method = verb;
  record.allowed = true;
  record.detail = std::string(ToString(port.transport)) + " " + port.host.ToString() + " to port " +
                  std::to_string(port.guest);
  audit_.Write(record);
}

}  // namespace sallyport::runtime
