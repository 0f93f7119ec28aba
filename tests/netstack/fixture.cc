#include "fixture.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>

#include <array>
#include <cerrno>

namespace sallyport::netstack {
namespace {

std::unique_ptr<Loop> NewLoop(const TimeSource* time) {
  auto loop = Loop::Create(time);
  REQUIRE(loop);
  return std::move(*loop);
}

sockaddr_in Loopback() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

sockaddr_in NameOf(int socket) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  REQUIRE(getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  return address;
}

UniqueFd NewSocket(int type) {
  UniqueFd socket_fd(socket(AF_INET, type | SOCK_CLOEXEC, 0));
  REQUIRE(socket_fd.valid());
  return socket_fd;
}

void Connect(int socket, const sockaddr_in& to) {
  REQUIRE(connect(socket, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
}

void Bind(int socket) {
  const sockaddr_in address = Loopback();
  REQUIRE(bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
}

void SetNonBlocking(SocketPair& pair) {
  for (const int fd : {pair.ours.get(), pair.theirs.get()}) fcntl(fd, F_SETFL, O_NONBLOCK);
}

}  // namespace

Pending FakeDecider::Decide(const FlowInfo& flow, std::function<void(FlowVerdict)> done) {
  asked.push_back(flow);
  auto waiting = std::make_shared<Waiting>();
  waiting->done = std::move(done);
  waiting_[flow.id] = waiting;
  if (answer) {
    if (auto verdict = answer(flow)) {
      auto shared = std::make_shared<FlowVerdict>(std::move(*verdict));
      waiting->posted =
          loop_.Post([this, id = flow.id, shared] { Answer(id, std::move(*shared)); });
    }
  }
  return Pending([this, id = flow.id] {
    if (waiting_.erase(id) > 0) ++cancelled;
  });
}

void FakeDecider::Answer(uint64_t id, FlowVerdict verdict) {
  const auto found = waiting_.find(id);
  REQUIRE(found != waiting_.end());
  const auto waiting = std::move(found->second);
  waiting_.erase(found);
  waiting->done(std::move(verdict));
}

bool FakeDecider::waiting(uint64_t id) const {
  return waiting_.contains(id);
}

SocketPair TcpPair() {
  const UniqueFd listener = NewSocket(SOCK_STREAM);
  Bind(listener.get());
  REQUIRE(listen(listener.get(), 1) == 0);
  SocketPair pair{NewSocket(SOCK_STREAM), {}};
  Connect(pair.ours.get(), NameOf(listener.get()));
  pair.theirs = UniqueFd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  REQUIRE(pair.theirs.valid());
  SetNonBlocking(pair);
  return pair;
}

SocketPair UdpPair() {
  SocketPair pair{NewSocket(SOCK_DGRAM), NewSocket(SOCK_DGRAM)};
  Bind(pair.ours.get());
  Bind(pair.theirs.get());
  Connect(pair.ours.get(), NameOf(pair.theirs.get()));
  Connect(pair.theirs.get(), NameOf(pair.ours.get()));
  SetNonBlocking(pair);
  return pair;
}

std::optional<std::string> ReadSome(int socket) {
  std::array<char, 65536> buffer;
  const ssize_t got = recv(socket, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (got < 0) return std::nullopt;
  return std::string(buffer.data(), static_cast<size_t>(got));
}

Fixture::Fixture(const StackOptions& options, const TimeSource* time, const Wrap& wrap)
    : loop(NewLoop(time)), decider(*loop) {
  auto made = MemoryLink::Create();
  REQUIRE(made);
  link = made->get();
  std::unique_ptr<Link> wire = std::move(*made);
  if (wrap) wire = wrap(*loop, std::move(wire));
  auto created = Stack::Create(*loop, std::move(wire), decider, options);
  REQUIRE(created);
  stack = std::move(*created);
}

Fixture::~Fixture() = default;

void Fixture::Turn() {
  const Loop::Handle at_once = loop->Post([] {});
  REQUIRE(loop->RunOnce());
  if (stack) Deliver();
}

size_t Fixture::Deliver() {
  size_t count = 0;
  for (; !link->sent().empty(); ++count) {
    const Seen frame = Read(link->sent().front());
    link->sent().pop_front();
    bool taken = false;
    for (GuestTcp* guest : guests) taken = taken || guest->Take(frame);
    if (!taken) seen.push_back(frame);
  }
  return count;
}

bool Fixture::RunUntil(const std::function<bool()>& done) {
  const auto limit = Clock::now() + std::chrono::seconds(20);
  while (!done()) {
    if (Clock::now() > limit) return false;
    // Wakes the loop up when nothing else does.
    const Loop::Handle guard = loop->After(std::chrono::milliseconds(20), [] {});
    REQUIRE(loop->RunOnce());
    if (stack) Deliver();
  }
  return true;
}

void Fixture::Settle() {
  for (int quiet = 0; quiet < 3;) {
    const Loop::Handle at_once = loop->Post([] {});
    REQUIRE(loop->RunOnce());
    quiet = Deliver() == 0 ? quiet + 1 : 0;
  }
}

void Fixture::Pass(ManualClock& clock, Clock::duration time) {
  constexpr std::chrono::milliseconds kTick(25);
  for (; time > Clock::duration(0); time -= kTick) {
    clock.Advance(std::min<Clock::duration>(kTick, time));
    Turn();
  }
}

std::unique_ptr<GuestTcp> Fixture::NewGuest(Ip ip, uint16_t source_port, uint16_t port,
                                            uint32_t sequence) {
  auto guest = std::make_unique<GuestTcp>(*link, ip, source_port, port, sequence);
  guests.push_back(guest.get());
  return guest;
}

void Fixture::Forget(GuestTcp& guest) {
  std::erase(guests, &guest);
}

std::unique_ptr<GuestTcp> Fixture::Connect(Ip ip, uint16_t source_port, uint16_t port,
                                           uint32_t sequence) {
  auto guest = NewGuest(ip, source_port, port, sequence);
  guest->Syn();
  REQUIRE(RunUntil([&] { return guest->open; }));
  Settle();
  return guest;
}

void Echo::OnStreamReady() {
  std::array<uint8_t, 4096> buffer;
  for (;;) {
    if (!held_.empty()) {
      held_.erase(0, stream_->Write(held_));
      if (!held_.empty()) return;
    }
    const ReadResult result = stream_->Read(buffer);
    switch (result.kind) {
      case ReadResult::Kind::kBytes:
        held_.assign(buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(result.bytes));
        continue;
      case ReadResult::Kind::kWouldBlock:
        return;
      case ReadResult::Kind::kEnd:
        ended = true;
        return stream_->CloseWrite();
      case ReadResult::Kind::kBroken:
        broken = true;
        return;
    }
  }
}

}  // namespace sallyport::netstack
