// What whoever runs as the owner can say to a running sandbox over its control socket: packets of
// any bytes, with descriptors of any kind, to the server and the commands behind it. The input is a
// conversation:
//
//   byte 0      even: a packet of the bytes that follow, as they are; odd: of their words, which
//               stand between spaces, with '_' for a space in one
//   byte 1      what comes with it (Attachment)
//   byte 2      how many bytes the packet has
//   byte 3, 4   how many its attachment has, which follow the packet's
//
// Whatever is asked is answered, by a reply that can be read, which never has a value in it.

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/descriptor_message.h"
#include "runtime/warden/approval_commands.h"
#include "runtime/warden/audit_log.h"
#include "runtime/warden/control_server.h"
#include "runtime/warden/look_commands.h"
#include "runtime/warden/policy_reload.h"
#include "runtime/warden/port_commands.h"
#include "runtime/warden/secret_commands.h"
#include "tests/fuzz/bytes.h"

using namespace sallyport;
using namespace sallyport::runtime;

namespace {

constexpr std::string_view kSecretValue = "a-value-that-no-input-has-4711";
constexpr char kStartPolicy[] = R"(
allow.http { host = "api.example.com", method = "GET" }
secret "TOKEN" { from = env "TOKEN", hosts = { "api.example.com" } }
)";

enum class Attachment { kNone, kValue, kBytes, kPolicy, kTcp, kUdp, kPipe, kFolder, kTwo, kCount };

UniqueFd FileOf(std::string_view bytes) {
  UniqueFd file(memfd_create("attached", MFD_CLOEXEC));
  SALLYPORT_CHECK(write(file.get(), bytes.data(), bytes.size()) ==
                  static_cast<ssize_t>(bytes.size()));
  return file;
}

/// A socket on a port of loopback that the kernel chooses.
UniqueFd Bound(int type) {
  UniqueFd made(socket(AF_INET, type | SOCK_CLOEXEC, 0));
  sockaddr_in name{.sin_family = AF_INET,
                   .sin_port = 0,
                   .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
                   .sin_zero = {}};
  SALLYPORT_CHECK(bind(made.get(), reinterpret_cast<sockaddr*>(&name), sizeof name) == 0);
  SALLYPORT_CHECK(type != SOCK_STREAM || listen(made.get(), 1) == 0);
  return made;
}

/// The text of a policy as it comes with "policy reload".
std::string ReloadOf(std::string_view text) {
  return ReloadMessage{
      .text = std::string(text),
      .name = "policy.lua",
      .folder = "/project",
      .files = {"/project/policy.lua"},
      .values = {{"TOKEN", std::string(kSecretValue)}, {"OTHER", std::string(kSecretValue)}}}
      .Encode();
}

std::vector<UniqueFd> Attached(Attachment kind, std::string_view bytes) {
  static const UniqueFd tcp = Bound(SOCK_STREAM);
  static const UniqueFd udp = Bound(SOCK_DGRAM);
  std::vector<UniqueFd> attached;
  switch (kind) {
    case Attachment::kNone:
    case Attachment::kCount:
      break;
    case Attachment::kValue:
      attached.push_back(FileOf(kSecretValue));
      break;
    case Attachment::kBytes:
      attached.push_back(FileOf(bytes));
      break;
    case Attachment::kPolicy:
      attached.push_back(FileOf(ReloadOf(bytes)));
      break;
    case Attachment::kTcp:
      attached.emplace_back(dup(tcp.get()));
      break;
    case Attachment::kUdp:
      attached.emplace_back(dup(udp.get()));
      break;
    case Attachment::kPipe: {
      std::array<int, 2> ends{};
      SALLYPORT_CHECK(pipe2(ends.data(), O_CLOEXEC) == 0);
      attached.emplace_back(ends[0]);
      UniqueFd(ends[1]).reset();
      break;
    }
    case Attachment::kFolder:
      attached.emplace_back(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
      break;
    case Attachment::kTwo:
      attached.push_back(FileOf(bytes));
      attached.push_back(FileOf(kSecretValue));
      break;
  }
  return attached;
}

std::unique_ptr<policy::Engine> Loaded() {
  auto loaded =
      policy::Engine::Load({.text = kStartPolicy, .name = "policy.lua", .folder = "/project"});
  SALLYPORT_CHECK(loaded.engine != nullptr);
  return std::move(loaded.engine);
}

/// An agent that says nothing.
struct Agent final : FrameChannel::User {
  void OnFrame(guest::Frame) override {}
  void OnChannelEnd(Error) override {}
};

/// The parts of a warden that commands reach.
struct Sandbox {
  Sandbox() {
    std::array<int, 2> ends{};
    SALLYPORT_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    other_end = UniqueFd(ends[1]);
    channel = *FrameChannel::Create(*loop, UniqueFd(ends[0]), "the agent", agent);
    ports.emplace(Inbound::Services{.loop = *loop, .agent = *channel, .audit = audit});
    SALLYPORT_CHECK(ports->Open().has_value());
    for (const auto& spec : engine.secrets()) {
      SALLYPORT_CHECK(store.Add(spec, *secrets::Secret::Create(kSecretValue)).has_value());
      engine.SetPlaceholder(spec.name, *store.PlaceholderOf(spec.name));
    }
    launch.mounts = {{.source = "/work", .target = "/work", .writable = true}};
    asked = approvals.Ask({.kind = "https",
                           .host = "api.example.com",
                           .port = 443,
                           .method = "POST",
                           .path = "/x",
                           .rule = "policy.lua:2",
                           .message = "may it?",
                           .body_bytes = 3,
                           .body_start = "a\nb"},
                          std::chrono::hours(1), [](policy::Approval) {});
    ports_commands.emplace(*ports, audit);
    look.emplace(LookCommands::Services{
        .loop = *loop, .engine = engine, .audit = audit, .approvals = approvals, .ports = *ports});
    const std::string name = "fuzz-" + std::to_string(getpid());
    const auto address = ControlAddressOf(geteuid(), name);
    SALLYPORT_CHECK(address.has_value());
    where = *address;
    server = *ControlServer::Create(*loop, *ListenForControl(geteuid(), name), geteuid(),
                                    [this](const ControlRequest& request, UniqueFd attached) {
                                      return OnCommand(request, std::move(attached));
                                    });
  }

  /// As Warden::OnCommand().
  ControlReply OnCommand(const ControlRequest& request, UniqueFd attached) {
    if (ApprovalCommands::Knows(request.verb)) return approval_commands.Run(request);
    if (PortCommands::Knows(request.verb)) return ports_commands->Run(request, std::move(attached));
    if (LookCommands::Knows(request.verb)) return look->Run(request);
    if (request.verb == "policy reload") return reload.Run(attached);
    return secret_commands.Run(request, std::move(attached));
  }

  /// The answer to PACKET with ATTACHED; nothing where the server hung up.
  std::optional<std::string> Ask(std::string_view packet, const std::vector<UniqueFd>& attached) {
    const UniqueFd client(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    SALLYPORT_CHECK(
        connect(client.get(), reinterpret_cast<const sockaddr*>(&where.name), where.size) == 0);
    std::vector<int> fds;
    for (const auto& fd : attached) fds.push_back(fd.get());
    if (!SendMessage(client.get(), packet, fds)) return std::nullopt;
    char byte = 0;
    while (recv(client.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0) {
      SALLYPORT_CHECK(errno == EAGAIN && loop->RunOnce().has_value());
    }
    auto reply = ReceiveControl(client.get());
    if (!reply) return std::nullopt;
    return std::move(reply->bytes);
  }

  std::unique_ptr<Loop> loop = *Loop::Create();
  policy::LiveEngine engine{Loaded()};
  secrets::Store store;
  AuditLog audit{UniqueFd(open("/dev/null", O_WRONLY | O_APPEND | O_CLOEXEC)), {.sandbox = "sp-a"}};
  Approvals approvals{*loop};
  Pending asked;
  Launch launch;
  Agent agent;
  UniqueFd other_end;
  std::unique_ptr<FrameChannel> channel;
  std::optional<PublishedPorts> ports;
  ApprovalCommands approval_commands{*loop, approvals, audit};
  SecretCommands secret_commands{store, engine, audit};
  PolicyReload reload{{.engine = engine,
                       .secrets = store,
                       .launch = launch,
                       .forget = [](const std::string&) {},
                       .in_force =
                           [](const std::function<void()>& replace) {
                             replace();
                             return size_t{0};
                           }}};
  std::optional<PortCommands> ports_commands;
  std::optional<LookCommands> look;
  ControlAddress where;
  std::unique_ptr<ControlServer> server;
};

/// "secret_add A b.example" as a request.
std::string RequestOf(std::string_view text) {
  ControlRequest request;
  std::string word;
  bool first = true;
  for (const char c : std::string(text) + " ") {
    if (c != ' ') {
      word += c == '_' ? ' ' : c;
    } else if (first) {
      request.verb = std::move(word);
      first = false;
      word.clear();
    } else {
      request.arguments.push_back(std::move(word));
      word.clear();
    }
  }
  return request.Encode();
}

/// Whatever is taken is written the same way again.
void Decode(std::string_view bytes) {
  if (const auto request = ControlRequest::Decode(bytes)) {
    SALLYPORT_CHECK(request->Encode() == bytes);
  }
  if (const auto reply = ControlReply::Decode(bytes)) SALLYPORT_CHECK(reply->Encode() == bytes);
  if (const auto reload = ReloadMessage::Decode(bytes)) SALLYPORT_CHECK(reload->Encode() == bytes);
}

std::string Take(Bytes& bytes, size_t count) {
  std::string text;
  for (; count > 0 && !bytes.empty(); --count) text += static_cast<char>(bytes.Next());
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes bytes(data, size);
  std::optional<Sandbox> sandbox;
  const bool has_value =
      std::string_view(reinterpret_cast<const char*>(data), size).find(kSecretValue) !=
      std::string_view::npos;
  while (!bytes.empty()) {
    const bool words = (bytes.Next() & 1) != 0;
    const auto kind =
        static_cast<Attachment>(bytes.Next() % static_cast<uint8_t>(Attachment::kCount));
    const size_t packet_bytes = bytes.Next();
    const size_t attached_high = bytes.Next() * size_t{256};
    const size_t attached_bytes = attached_high + bytes.Next();
    const std::string packet = Take(bytes, packet_bytes);
    const std::string attached = Take(bytes, attached_bytes);
    Decode(packet);
    Decode(attached);
    const std::string sent = words ? RequestOf(packet) : packet;
    if (sent.empty()) continue;
    if (!sandbox) sandbox.emplace();
    const auto reply = sandbox->Ask(sent, Attached(kind, attached));
    // Only a packet with too many descriptors has none.
    SALLYPORT_CHECK(reply.has_value() == (kind != Attachment::kTwo));
    if (!reply) continue;
    SALLYPORT_CHECK(ControlReply::Decode(*reply).has_value());
    SALLYPORT_CHECK(has_value || reply->find(kSecretValue) == std::string::npos);
  }
  return 0;
}
