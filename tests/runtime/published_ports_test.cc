#include "runtime/warden/published_ports.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>

#include "guest/protocol/messages.h"
#include "runtime/warden/port_commands.h"
#include "tests/fakes/recording_audit.h"

namespace sallyport::runtime {
namespace {

using guest::Frame;
using guest::FrameType;
using namespace std::chrono_literals;

const Endpoint kLoopback{IpAddress::V4(127, 0, 0, 1), 0};

UniqueFd Bound(int type, Endpoint* where) {
  UniqueFd made(socket(AF_INET, type | SOCK_CLOEXEC, 0));
  sockaddr_storage name{};
  socklen_t size = kLoopback.ToSockaddr(name);
  auto* address = reinterpret_cast<sockaddr*>(&name);
  REQUIRE(bind(made.get(), address, size) == 0);
  if (type == SOCK_STREAM) REQUIRE(listen(made.get(), 16) == 0);
  size = sizeof name;
  REQUIRE(getsockname(made.get(), address, &size) == 0);
  *where = *Endpoint::FromSockaddr(name);
  return made;
}

UniqueFd ConnectTo(int type, const Endpoint& where) {
  UniqueFd made(socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_storage name{};
  const socklen_t size = where.ToSockaddr(name);
  const int connected = connect(made.get(), reinterpret_cast<sockaddr*>(&name), size);
  REQUIRE((connected == 0 || errno == EINPROGRESS));
  return made;
}

/// Published ports, and an agent that does what a test says.
struct Fixture final : FrameChannel::User {
  Fixture() {
    std::array<int, 2> ends{};
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    host_side.fixture = this;
    to_agent = *FrameChannel::Create(*loop, UniqueFd(ends[0]), "the agent", host_side);
    agent = *FrameChannel::Create(*loop, UniqueFd(ends[1]), "the host", *this);
    ports = std::make_unique<PublishedPorts>(
        Inbound::Services{.loop = *loop, .agent = *to_agent, .audit = audit});
  }

  struct HostSide final : FrameChannel::User {
    void OnFrame(Frame frame) override {
      if (auto taken = fixture->ports->OnFrame(frame); !taken) {
        fixture->broken = taken.error().message();
      }
    }
    void OnChannelEnd(Error) override {}
    void OnChannelDrained() override { fixture->ports->OnAgentDrained(); }
    Fixture* fixture = nullptr;
  };

  void OnFrame(Frame frame) override { frames.push_back(std::move(frame)); }
  void OnChannelEnd(Error) override {}

  Endpoint Publish(int type, uint16_t guest = 80) {
    Endpoint where;
    const auto added = ports->Add(Bound(type, &where), guest);
    REQUIRE(added);
    CHECK(added->host == where);
    return where;
  }

  template <class Done>
  void Until(Done done) {
    bool late = false;
    const auto deadline = loop->After(20s, [&late] { late = true; });
    while (!done() && !late) REQUIRE(*loop->RunOnce());
    REQUIRE_FALSE(late);
  }
  void Settle() {
    for (int i = 0; i < 8; ++i) {
      const auto tick = loop->Post([] {});  // So that a turn does not wait.
      REQUIRE(loop->RunOnce());
    }
  }
  /// The next stream that the agent is asked for.
  uint32_t Dialled() {
    const size_t before = frames.size();
    Until([&] { return frames.size() > before && frames.back().type == FrameType::kDial; });
    return frames.back().stream;
  }
  bool IsReset(const UniqueFd& client) {
    char byte = 0;
    ssize_t got = -1;
    Until([&] {
      got = recv(client.get(), &byte, 1, MSG_DONTWAIT);
      return got >= 0 || (errno != EAGAIN && errno != ENOTCONN);
    });
    return got < 0 && errno == ECONNRESET;
  }
  void Answer(uint32_t stream, FrameType type, std::string_view payload = {}, uint8_t flags = 0) {
    agent->Send(type, stream, payload, flags);
    leaves = loop->Post([] {});  // At the end of a turn, which must come.
  }

  std::unique_ptr<Loop> loop = std::move(*Loop::Create());
  RecordingAudit audit;
  HostSide host_side;
  std::unique_ptr<FrameChannel> to_agent;
  std::unique_ptr<FrameChannel> agent;
  std::vector<Frame> frames;
  std::string broken;
  Loop::Handle leaves;
  std::unique_ptr<PublishedPorts> ports;
};

TEST_CASE("a client waits until the sandbox is up, and is then connected to its port") {
  Fixture f;
  const Endpoint where = f.Publish(SOCK_STREAM, 8000);
  const UniqueFd client = ConnectTo(SOCK_STREAM, where);
  f.Settle();
  CHECK(f.frames.empty());
  REQUIRE(f.ports->Open());
  const uint32_t stream = f.Dialled();
  CHECK(PublishedPorts::Owns(stream));
  const auto dial = guest::Dial::Decode(f.frames.back().payload);
  REQUIRE(dial);
  CHECK(dial->port == 8000);
  CHECK(dial->transport == guest::Dial::Transport::kTcp);
  CHECK(dial->addresses.front() == std::string("\x7f\0\0\1", 4));
}

TEST_CASE("bytes go both ways, and the record says how many") {
  Fixture f;
  const Endpoint where = f.Publish(SOCK_STREAM);
  REQUIRE(f.ports->Open());
  const UniqueFd client = ConnectTo(SOCK_STREAM, where);
  const uint32_t stream = f.Dialled();
  REQUIRE(send(client.get(), "hello", 5, 0) == 5);
  f.Settle();
  CHECK(f.frames.size() == 1);  // Nothing before a server has taken it.
  f.Answer(stream, FrameType::kStarted);
  f.Until([&] { return f.frames.size() == 2; });
  CHECK(f.frames[1].payload == "hello");
  f.Answer(stream, FrameType::kData, "hi", guest::kFlagEnd);
  shutdown(client.get(), SHUT_WR);
  f.Until([&] { return !f.audit.records.empty(); });
  const AuditRecord& record = f.audit.records[0];
  CHECK(record.direction == "in");
  CHECK(record.allowed);
  CHECK(record.bytes_down == 5);
  CHECK(record.bytes_up == 2);
  CHECK(record.rule == "port " + where.ToString());
  CHECK(record.port == 80);
  f.Settle();
  CHECK(f.ports->List()[0].open == 0);
}

TEST_CASE("a client that no server takes sees a reset") {
  Fixture f;
  const Endpoint where = f.Publish(SOCK_STREAM);
  REQUIRE(f.ports->Open());
  const UniqueFd client = ConnectTo(SOCK_STREAM, where);
  f.Answer(f.Dialled(), FrameType::kError);
  CHECK(f.IsReset(client));
  REQUIRE(f.audit.records.size() == 1);
  CHECK(f.audit.records[0].reason == Reason::kUpstreamRefused);
  CHECK_FALSE(f.audit.records[0].allowed);
}

TEST_CASE("an agent that breaks the protocol is found out") {
  for (const FrameType type : {FrameType::kData, FrameType::kStdout, FrameType::kDial}) {
    Fixture f;
    const Endpoint where = f.Publish(SOCK_STREAM);
    REQUIRE(f.ports->Open());
    const UniqueFd client = ConnectTo(SOCK_STREAM, where);
    f.Answer(f.Dialled(), type, "x");
    f.Until([&] { return !f.broken.empty(); });
  }
  Fixture f;
  const Endpoint where = f.Publish(SOCK_DGRAM);
  REQUIRE(f.ports->Open());
  const UniqueFd client = ConnectTo(SOCK_DGRAM, where);
  REQUIRE(send(client.get(), "x", 1, 0) == 1);
  f.Until([&] { return f.frames.size() == 2; });
  f.Answer(f.frames[0].stream, FrameType::kData, "x");
  f.Until([&] { return !f.broken.empty(); });
}

TEST_CASE("frames for streams that nobody has are nobody's") {
  Fixture f;
  f.Answer(0x80000077, FrameType::kData, "x");
  f.Answer(0xffffffff, FrameType::kDatagram, "x");
  f.Settle();
  CHECK(f.broken.empty());
}

TEST_CASE("a connection beyond the limit is reset, and one is taken again when another ends") {
  Fixture f;
  const Endpoint where = f.Publish(SOCK_STREAM);
  REQUIRE(f.ports->Open());
  std::vector<UniqueFd> clients;
  std::vector<uint32_t> streams;
  for (size_t i = 0; i < PublishedPorts::kMaxStreams; ++i) {
    clients.push_back(ConnectTo(SOCK_STREAM, where));
    streams.push_back(f.Dialled());
  }
  CHECK(f.IsReset(ConnectTo(SOCK_STREAM, where)));
  REQUIRE(f.audit.records.size() == 1);
  CHECK(f.audit.records[0].reason == Reason::kLimit);
  f.Answer(streams[0], FrameType::kError);
  CHECK(f.IsReset(clients[0]));
  clients.push_back(ConnectTo(SOCK_STREAM, where));
  f.Dialled();
}

TEST_CASE("nobody is let in while the audit log can't be written") {
  Fixture f;
  const Endpoint where = f.Publish(SOCK_STREAM);
  REQUIRE(f.ports->Open());
  f.audit.is_healthy = false;
  CHECK(f.IsReset(ConnectTo(SOCK_STREAM, where)));
  CHECK(f.frames.empty());
}

TEST_CASE("nobody is let in while the agent reads nothing, so that nothing piles up for it") {
  Fixture f;
  const Endpoint tcp = f.Publish(SOCK_STREAM);
  const Endpoint udp = f.Publish(SOCK_DGRAM, 53);
  REQUIRE(f.ports->Open());
  f.agent->Pause();
  const std::string much(guest::kMaxPayload, 'x');
  while (!f.to_agent->full()) f.to_agent->Send(FrameType::kStdin, 1, much);
  f.Settle();
  // In the place of what the socket took.
  while (!f.to_agent->full()) f.to_agent->Send(FrameType::kStdin, 1, much);
  CHECK(f.IsReset(ConnectTo(SOCK_STREAM, tcp)));
  const UniqueFd client = ConnectTo(SOCK_DGRAM, udp);
  REQUIRE(send(client.get(), "x", 1, 0) == 1);
  f.Settle();
  CHECK(f.ports->List()[0].open == 0);
  CHECK(f.ports->List()[1].open == 0);
  REQUIRE(f.audit.records.size() == 1);
  CHECK(f.audit.records[0].reason == Reason::kLimit);

  f.agent->Resume();
  f.Until([&] { return !f.to_agent->full(); });
  REQUIRE(send(client.get(), "y", 1, 0) == 1);
  f.Until([&] { return f.ports->List()[1].open == 1; });
}

TEST_CASE("clients of a UDP port are told apart, and answered by it") {
  Fixture f;
  const Endpoint where = f.Publish(SOCK_DGRAM, 53);
  REQUIRE(f.ports->Open());
  const UniqueFd one = ConnectTo(SOCK_DGRAM, where);
  const UniqueFd two = ConnectTo(SOCK_DGRAM, where);
  REQUIRE(send(one.get(), "1", 1, 0) == 1);
  f.Until([&] { return f.frames.size() == 2; });
  REQUIRE(send(two.get(), "2", 1, 0) == 1);
  f.Until([&] { return f.frames.size() == 4; });
  REQUIRE(send(one.get(), "", 0, 0) == 0);
  f.Until([&] { return f.frames.size() == 5; });
  CHECK(f.frames[0].type == FrameType::kDial);
  CHECK(f.frames[1].payload == "1");
  CHECK(f.frames[3].payload == "2");
  CHECK(f.frames[4].stream == f.frames[0].stream);
  f.Answer(f.frames[2].stream, FrameType::kDatagram, "for two");
  char bytes[16] = {};
  f.Until([&] { return recv(two.get(), bytes, sizeof bytes, MSG_DONTWAIT) == 7; });
  CHECK(recv(one.get(), bytes, sizeof bytes, MSG_DONTWAIT) < 0);
  CHECK(f.ports->List()[0].open == 2);
}

TEST_CASE("one more UDP client takes the place of the one that was silent longest") {
  Fixture f;
  const Endpoint where = f.Publish(SOCK_DGRAM, 53);
  REQUIRE(f.ports->Open());
  std::vector<UniqueFd> clients;
  for (size_t i = 0; i < PublishedPorts::kMaxClients + 1; ++i) {
    clients.push_back(ConnectTo(SOCK_DGRAM, where));
    const size_t before = f.frames.size();
    REQUIRE(send(clients.back().get(), "x", 1, 0) == 1);
    f.Until([&] { return f.frames.size() >= before + 2; });
  }
  f.Settle();
  CHECK(f.ports->List()[0].open == PublishedPorts::kMaxClients);
  REQUIRE(f.audit.records.size() == 1);
  CHECK(f.audit.records[0].flow == f.frames[0].stream);
}

TEST_CASE("a port that is taken back resets its connections, and others stay") {
  Fixture f;
  const Endpoint gone = f.Publish(SOCK_STREAM, 1);
  const Endpoint stays = f.Publish(SOCK_STREAM, 2);
  REQUIRE(f.ports->Open());
  const UniqueFd open = ConnectTo(SOCK_STREAM, gone);
  f.Answer(f.Dialled(), FrameType::kStarted);
  f.Settle();
  const UniqueFd dialling = ConnectTo(SOCK_STREAM, gone);
  f.Dialled();
  const UniqueFd other = ConnectTo(SOCK_STREAM, stays);
  f.Dialled();
  CHECK(f.ports->Remove(Transport::kUdp, gone.port, std::nullopt).empty());
  CHECK(f.ports->Remove(Transport::kTcp, gone.port, IpAddress::V4(127, 0, 0, 2)).empty());
  CHECK(f.ports->Remove(Transport::kTcp, gone.port, std::nullopt).size() == 1);
  CHECK(f.IsReset(open));
  CHECK(f.IsReset(dialling));
  REQUIRE(f.ports->List().size() == 1);
  CHECK(f.ports->List()[0].open == 1);
  CHECK(f.audit.records.size() == 2);
}

TEST_CASE("what still goes on when the sandbox ends is told as ended with it") {
  Fixture f;
  const Endpoint tcp = f.Publish(SOCK_STREAM);
  const Endpoint udp = f.Publish(SOCK_DGRAM);
  REQUIRE(f.ports->Open());
  const UniqueFd dialling = ConnectTo(SOCK_STREAM, tcp);
  f.Dialled();
  const UniqueFd open = ConnectTo(SOCK_STREAM, tcp);
  f.Answer(f.Dialled(), FrameType::kStarted);
  const UniqueFd client = ConnectTo(SOCK_DGRAM, udp);
  REQUIRE(send(client.get(), "x", 1, 0) == 1);
  f.Until([&] { return f.frames.size() == 4; });
  f.ports.reset();
  REQUIRE(f.audit.records.size() == 3);
  for (const auto& record : f.audit.records) CHECK(record.detail == "the sandbox ended");
  CHECK(f.IsReset(dialling));
  CHECK(f.IsReset(open));
}

TEST_CASE("only a listening TCP or a bound UDP socket can be published, and so many of them") {
  Fixture f;
  CHECK_FALSE(f.ports->Add(UniqueFd(), 80));
  CHECK_FALSE(f.ports->Add(UniqueFd(socket(AF_INET, SOCK_STREAM, 0)), 80));
  CHECK_FALSE(f.ports->Add(UniqueFd(socket(AF_INET, SOCK_DGRAM, 0)), 80));
  CHECK_FALSE(f.ports->Add(UniqueFd(socket(AF_UNIX, SOCK_STREAM, 0)), 80));
  CHECK_FALSE(f.ports->Add(UniqueFd(dup(0)), 80));
  Endpoint where;
  CHECK_FALSE(f.ports->Add(Bound(SOCK_STREAM, &where), 0));
  for (size_t i = 0; i < kMaxPublishedPorts; ++i) f.Publish(SOCK_STREAM);
  const auto over = f.ports->Add(Bound(SOCK_STREAM, &where), 80);
  REQUIRE_FALSE(over);
  CHECK(over.error().code() == Code::kLimit);
}

TEST_CASE("commands that make no sense are refused, and change nothing") {
  Fixture f;
  f.Publish(SOCK_STREAM);
  PortCommands commands(*f.ports, f.audit);
  const auto refused = [&commands](const std::string& verb, std::vector<std::string> arguments) {
    return !commands.Run({verb, std::move(arguments)}, UniqueFd()).done;
  };
  CHECK(refused("port ls", {"x"}));
  CHECK(refused("port add", {"80"}));
  CHECK(refused("port add", {"0"}));
  CHECK(refused("port add", {"65536"}));
  CHECK(refused("port add", {}));
  CHECK(refused("port rm", {"sctp", "80"}));
  CHECK(refused("port rm", {"tcp", "x"}));
  CHECK(refused("port rm", {"tcp", "80", "nobody"}));
  CHECK(refused("port mv", {}));
  CHECK(f.ports->List().size() == 1);
  CHECK(f.audit.records.empty());
}

}  // namespace
}  // namespace sallyport::runtime
