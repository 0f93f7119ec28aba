// A real kernel as the guest, on the other end of a TAP device or a veth pair in a network
// namespace.

#include "netstack/tap_link.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <vector>

#include "faulty_link.h"
#include "fixture.h"
#include "netstack/packet_link.h"
#include "tap_guest.h"
#include "tap_jobs.h"

namespace sallyport::netstack {
namespace {

constexpr size_t kBulk = 48 * 1024 * 1024;
constexpr size_t kEchoed = kBulk / 4;
constexpr uint32_t kFaultSeed = 1;

uint8_t PatternAt(size_t at) {
  return static_cast<uint8_t>(at * 131 ^ at >> 13);
}

// ---- What guests do. Blocking; results are exit statuses, 0 for success. The deadline is
// RunGuest's: a socket with one of its own (SO_RCVTIMEO) fails with EINTR when its process is
// stopped and continued, by a debugger or a freezer as by a signal; one without goes on waiting.

bool SendPattern(int fd, size_t size) {
  std::vector<uint8_t> block(256 * 1024);
  for (size_t at = 0; at < size;) {
    const size_t piece = std::min(block.size(), size - at);
    for (size_t i = 0; i < piece; ++i) block[i] = PatternAt(at + i);
    for (size_t done = 0; done < piece;) {
      const ssize_t sent = send(fd, block.data() + done, piece - done, MSG_NOSIGNAL);
      if (sent <= 0) {
        std::fprintf(stderr, "sending at byte %zu: %s\n", at + done, std::strerror(errno));
        return false;
      }
      done += static_cast<size_t>(sent);
    }
    at += piece;
  }
  return true;
}

// The size of what came before the end, if it was the pattern.
size_t ReceivePattern(int fd) {
  std::vector<uint8_t> block(256 * 1024);
  for (size_t at = 0;;) {
    const ssize_t got = recv(fd, block.data(), block.size(), 0);
    if (got == 0) return at;
    if (got < 0) {
      std::fprintf(stderr, "receiving at byte %zu: %s\n", at, std::strerror(errno));
      return 0;
    }
    for (size_t i = 0; i < static_cast<size_t>(got); ++i, ++at) {
      if (block[i] == PatternAt(at)) continue;
      std::fprintf(stderr, "byte %zu is 0x%02x\n", at, block[i]);
      return 0;
    }
  }
}

int Upload(Ip ip) {
  const UniqueFd fd = GuestSocket(ip, SOCK_STREAM, 80);
  if (!fd.valid() || send(fd.get(), "U", 1, 0) != 1) return 1;
  if (!SendPattern(fd.get(), kBulk) || shutdown(fd.get(), SHUT_WR) != 0) return 2;
  uint64_t count = 0;
  if (recv(fd.get(), &count, sizeof count, MSG_WAITALL) != sizeof count) return 3;
  return count == kBulk ? 0 : 4;
}

int Download(Ip ip) {
  const UniqueFd fd = GuestSocket(ip, SOCK_STREAM, 80);
  if (!fd.valid() || send(fd.get(), "D", 1, 0) != 1) return 1;
  const size_t got = ReceivePattern(fd.get());
  if (got == kBulk) return 0;
  std::fprintf(stderr, "%zu of %zu bytes came\n", got, size_t{kBulk});
  return 2;
}

// A writer that half-closes, and a reader at the same time.
int SendAndGetBack() {
  const UniqueFd fd = GuestSocket(Ip::kV4, SOCK_STREAM, 80);
  const pid_t writer = fork();
  if (writer == 0) {
    _exit(SendPattern(fd.get(), kEchoed) && shutdown(fd.get(), SHUT_WR) == 0 ? 0 : 1);
  }
  const size_t got = ReceivePattern(fd.get());
  int status = 0;
  waitpid(writer, &status, 0);
  return got == kEchoed && status == 0 ? 0 : 1;
}

int RefusedWith(Ip ip, uint16_t port, int error) {
  const UniqueFd fd = GuestSocket(ip, SOCK_STREAM, port);
  return !fd.valid() && errno == error ? 0 : 1;
}

// As clients of QUIC send: one call for many datagrams, which the kernel cuts as late as it can.
int AskThreeTimesAtOnce(Ip ip) {
  const UniqueFd fd = GuestSocket(ip, SOCK_DGRAM, 53);
  const int piece = 500;
  if (setsockopt(fd.get(), SOL_UDP, UDP_SEGMENT, &piece, sizeof piece) != 0) return 1;
  const std::string question(1100, 'q');
  if (send(fd.get(), question.data(), question.size(), 0) != 1100) return 2;
  std::string answer(65535, '\0');
  for (const ssize_t expected : {500, 500, 100}) {
    if (recv(fd.get(), answer.data(), answer.size(), 0) != expected) return 3;
  }
  return 0;
}

int RefusedOverUdp(Ip ip) {
  const UniqueFd fd = GuestSocket(ip, SOCK_DGRAM, 9);
  if (send(fd.get(), "x", 1, 0) != 1) return 1;
  char byte;
  if (recv(fd.get(), &byte, 1, 0) != -1) return 2;
  return errno == (ip == Ip::kV4 ? EHOSTUNREACH : EACCES) ? 0 : 3;
}

// ---- The host that flows are spliced to: a process that answers one connection after the other.

void ServeOne(int fd) {
  char what;
  if (recv(fd, &what, 1, 0) != 1) return;
  if (what == 'D') {
    SendPattern(fd, kBulk);
    return;
  }
  const uint64_t count = ReceivePattern(fd);
  send(fd, &count, sizeof count, MSG_NOSIGNAL);
}

struct Host {
  Host() {
    listener = UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(listen(listener.get(), 16) == 0);
    REQUIRE(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    pid = fork();
    if (pid != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
      const UniqueFd fd(accept(listener.get(), nullptr, nullptr));
      if (!fd.valid()) _exit(0);
      ServeOne(fd.get());
    }
  }
  ~Host() {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  UniqueFd Connect() const {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    fcntl(fd.get(), F_SETFL, O_NONBLOCK);
    return fd;
  }
  UniqueFd listener;
  sockaddr_in address{};
  pid_t pid = -1;
};

enum class Grant { kSplice, kStream };
enum class Pace { kSteady, kStoppedAndContinued };

struct Circumstances {
  Grant grant = Grant::kSplice;
  GuestLink kind = GuestLink::kTap;
  Faults faults{};
  Pace pace = Pace::kSteady;
  GuestSetup setup = GuestSetup::kConfigured;
};

// One that asks gets the address that its kernel makes of the prefix and its MAC.
StackOptions OptionsFor(GuestSetup setup) {
  StackOptions options = TestOptions();
  if (setup == GuestSetup::kConfigured) return options;
  options.configure_guest = true;
  options.guest_v6 = *IpAddress::Parse("fd00:5a11::ff:fe00:2");
  return options;
}

// Stops the guest in every other turn of the stack's, and lets it go on in those between.
void StopOrContinue(pid_t guest, Pace pace, int turn) {
  if (pace == Pace::kStoppedAndContinued) kill(guest, turn % 2 == 0 ? SIGSTOP : SIGCONT);
}

// Runs JOB in a guest against a stack, and returns its exit status; -1 if it doesn't end.
int RunGuest(const std::function<int()>& job, const Circumstances& when = {}) {
  const Host host;
  auto guest = StartTapGuest(when.kind, job, when.setup);
  if (!guest) {
    WARN("skipped: " << guest.error().message());
    return 0;
  }
  auto loop = Loop::Create();
  FakeDecider decider(**loop);
  Parrot parrot;
  std::vector<std::unique_ptr<Echo>> echoes;
  decider.answer = [&](const FlowInfo& flow) -> FlowVerdict {
    if (flow.destination.port == 53) return ServeFlow{&parrot};
    if (flow.destination.port == 81) return DenyFlow{DenyFlow::As::kUnreachable};
    if (flow.destination.port != 80) return DenyFlow{};
    if (when.grant == Grant::kSplice) return SpliceFlow{host.Connect()};
    return AcceptFlow{[&](std::unique_ptr<Stream> stream) {
      echoes.push_back(std::make_unique<Echo>(std::move(stream)));
    }};
  };
  auto link = when.kind == GuestLink::kTap ? MakeTapLink(std::move(guest->link))
                                           : MakePacketLink(std::move(guest->link));
  REQUIRE(link);
  auto stack =
      Stack::Create(**loop, std::make_unique<FaultyLink>(std::move(*link), when.faults, kFaultSeed),
                    decider, OptionsFor(when.setup));
  REQUIRE(stack);

  int turn = 0;
  const int status =
      WaitForGuest(**loop, guest->pid, [&] { StopOrContinue(guest->pid, when.pace, turn++); });
  CHECK((*stack)->stats().dropped(Drop::kLinkFull) == 0);
  CHECK((*stack)->stats().dropped(Drop::kMemoryLimit) == 0);
  CHECK((*stack)->stats().dropped(Drop::kChecksum) == 0);
  return status;
}

TEST_CASE("a kernel's bulk upload and download arrive whole, spliced") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    CHECK(RunGuest([ip] { return Upload(ip); }) == 0);
    CHECK(RunGuest([ip] { return Download(ip); }) == 0);
  }
}

TEST_CASE("a kernel's bytes come back from an accepted stream, though it half-closes") {
  CHECK(RunGuest(SendAndGetBack, {.grant = Grant::kStream}) == 0);
}

TEST_CASE("a kernel's bytes come back though its program is stopped again and again") {
  CHECK(RunGuest(SendAndGetBack, {.grant = Grant::kStream, .pace = Pace::kStoppedAndContinued}) ==
        0);
}

TEST_CASE("a kernel's bytes come back over a link that loses, repeats and reorders frames") {
  const Faults faults{.lost = 200, .repeated = 100, .overtaken = 100};
  for (const GuestLink kind : {GuestLink::kTap, GuestLink::kVeth}) {
    CHECK(RunGuest(SendAndGetBack, {.grant = Grant::kStream, .kind = kind, .faults = faults}) == 0);
  }
}

TEST_CASE("a packet socket on a veth pair carries the same") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    CHECK(RunGuest([ip] { return Upload(ip); }, {.kind = GuestLink::kVeth}) == 0);
    CHECK(RunGuest([ip] { return Download(ip); }, {.kind = GuestLink::kVeth}) == 0);
    CHECK(RunGuest([ip] { return AskOverUdp(ip, 100); }, {.kind = GuestLink::kVeth}) == 0);
  }
}

TEST_CASE("a kernel sees what was refused, at once") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    CHECK(RunGuest([ip] { return RefusedWith(ip, 443, ECONNREFUSED); }) == 0);
    CHECK(RunGuest([ip] { return RefusedWith(ip, 81, EHOSTUNREACH); }) == 0);
    CHECK(RunGuest([ip] { return RefusedOverUdp(ip); }) == 0);
  }
}

TEST_CASE("a kernel's datagrams are answered, fragmented ones too") {
  CHECK(RunGuest([] { return AskOverUdp(Ip::kV4, 100); }) == 0);
  CHECK(RunGuest([] { return AskOverUdp(Ip::kV6, 100); }) == 0);
  for (const GuestLink kind : {GuestLink::kTap, GuestLink::kVeth}) {
    for (const Ip ip : {Ip::kV4, Ip::kV6}) {
      CHECK(RunGuest([ip] { return AskOverUdp(ip, 65'507); }, {.kind = kind}) == 0);
    }
  }
}

TEST_CASE("a kernel that nobody configured gets its address and route by an advertisement") {
  CHECK(RunGuest(AskOverUdpOnceConfigured, {.setup = GuestSetup::kAsks}) == 0);
}

TEST_CASE("datagrams that a kernel would have its link cut apart arrive one by one") {
  for (const GuestLink kind : {GuestLink::kTap, GuestLink::kVeth}) {
    for (const Ip ip : {Ip::kV4, Ip::kV6}) {
      CHECK(RunGuest([ip] { return AskThreeTimesAtOnce(ip); }, {.kind = kind}) == 0);
    }
  }
}

}  // namespace
}  // namespace sallyport::netstack
