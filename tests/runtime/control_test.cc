#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <thread>

#include "base/descriptor_message.h"
#include "runtime/api/control.h"
#include "runtime/warden/control_message.h"
#include "runtime/warden/control_server.h"

namespace sallyport::runtime {
namespace {

TEST_CASE("a request comes back as it was, and cut anywhere is none") {
  const std::string bytes = ControlRequest{"secret add", {"NAME", "a.example", ""}}.Encode();
  const auto decoded = ControlRequest::Decode(bytes);
  REQUIRE(decoded);
  CHECK(decoded->verb == "secret add");
  CHECK(decoded->arguments == std::vector<std::string>{"NAME", "a.example", ""});
  for (size_t length = 0; length < bytes.size(); ++length) {
    CHECK_FALSE(ControlRequest::Decode(std::string_view(bytes).substr(0, length)));
  }
  CHECK_FALSE(ControlRequest::Decode(bytes + "x"));
}

TEST_CASE("a reply comes back as it was, and cut anywhere is none") {
  const std::string bytes = ControlReply{true, "text", {{"A", "B"}, {"c", "d"}, {}}}.Encode();
  const auto decoded = ControlReply::Decode(bytes);
  REQUIRE(decoded);
  CHECK(decoded->done);
  CHECK(decoded->text == "text");
  CHECK(decoded->rows == std::vector<std::vector<std::string>>{{"A", "B"}, {"c", "d"}, {}});
  for (size_t length = 0; length < bytes.size(); ++length) {
    CHECK_FALSE(ControlReply::Decode(std::string_view(bytes).substr(0, length)));
  }
}

/// A server under a name of this test's own, which answers with what it was asked.
struct Served {
  explicit Served(uid_t owner = geteuid()) {
    auto listener = ListenForControl(geteuid(), id);
    REQUIRE(listener);
    auto created = ControlServer::Create(
        *loop, *std::move(listener), owner,
        [this](const ControlRequest& request, UniqueFd attached) {
          if (request.verb != "info") ++requests;  // Others list this user's sandboxes.
          return ControlReply{.done = attached.valid(), .text = request.verb, .rows = {}};
        });
    REQUIRE(created);
    server = *std::move(created);
  }

  UniqueFd Connect() const {
    auto socket = ConnectToControl(geteuid(), id);
    REQUIRE(socket);
    return *std::move(socket);
  }

  /// Turns the loop until SOCKET has something to read, its end included. Asserts nothing: there
  /// may be no descriptor left, and a sanitizer needs some to look at an assertion's objects.
  Result<ControlPacket> Receive(const UniqueFd& socket) {
    char byte = 0;
    while (recv(socket.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN) {
      if (auto turned = loop->RunOnce(); !turned) return tl::unexpected(std::move(turned).error());
    }
    return ReceiveControl(socket.get());
  }

  const std::string id = "test-" + std::to_string(getpid());
  std::unique_ptr<Loop> loop = std::move(*Loop::Create());
  std::unique_ptr<ControlServer> server;
  int requests = 0;
};

TEST_CASE("whoever takes no connections is not waited for without end") {
  Served served;
  timeval limit{};
  socklen_t size = sizeof limit;
  const UniqueFd socket = served.Connect();
  REQUIRE(getsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, &size) == 0);
  CHECK(limit.tv_sec > 0);
}

TEST_CASE("commands are served where no descriptor is left") {
  Served served;
  rlimit whole{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &whole) == 0);
  const rlimit few{.rlim_cur = 64, .rlim_max = whole.rlim_max};
  REQUIRE(setrlimit(RLIMIT_NOFILE, &few) == 0);
  for (int i = 0; i < 3; ++i) {
    const UniqueFd socket = served.Connect();
    REQUIRE(SendControl(socket.get(), ControlRequest{"verb", {}}.Encode(), socket));
    std::vector<UniqueFd> rest;
    do {
      rest.emplace_back(dup(socket.get()));
    } while (rest.back().valid());
    const auto packet = served.Receive(socket);
    rest.clear();
    REQUIRE(packet);
    const auto reply = ControlReply::Decode(packet->bytes);
    REQUIRE(reply);
    CHECK(reply->done);  // What was attached arrived, too.
  }
  REQUIRE(setrlimit(RLIMIT_NOFILE, &whole) == 0);
  CHECK(served.requests == 3);
}

/// Gives whoever connects to LISTENER what a sandbox called ID says of itself, until LISTENER is shut
/// down. Others list this user's sandboxes at the same time, too.
void TellOf(const UniqueFd& listener, const std::string& id) {
  const ControlReply reply{.done = true, .text = {}, .rows = {{id, "p.lua", "namespace", "tap"}}};
  for (;;) {
    const UniqueFd socket(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket.valid()) return;
    if (!ReceiveControl(socket.get())) continue;
    (void)SendControl(socket.get(), reply.Encode(), UniqueFd());
  }
}

/// Connects to sandbox ID until its queue takes nobody any more.
void Fill(uid_t owner, const std::string& id, std::vector<UniqueFd>& queue) {
  const auto address = ControlAddressOf(owner, id);
  REQUIRE(address);
  for (;;) {
    UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    REQUIRE(socket.valid());
    if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address->name), address->size) != 0)
      return;
    queue.push_back(std::move(socket));
  }
}

TEST_CASE("a sandbox that is still starting is listed as such, and hides none that answers") {
  const std::string name = "test-" + std::to_string(getpid());
  const auto silent = ListenForControl(geteuid(), name + "-a");
  const auto full = ListenForControl(geteuid(), name + "-aa");
  const auto listener = ListenForControl(geteuid(), name + "-b");
  REQUIRE(silent);
  REQUIRE(full);
  REQUIRE(listener);
  std::vector<UniqueFd> queue;
  Fill(geteuid(), name + "-aa", queue);
  REQUIRE(fcntl(listener->get(), F_SETFL, 0) == 0);
  std::thread answering([&] { TellOf(*listener, name + "-b"); });
  const auto running = ListSandboxes();
  shutdown(listener->get(), SHUT_RDWR);
  answering.join();
  REQUIRE(running);
  std::vector<RunningSandbox> ours;
  for (const RunningSandbox& one : *running) {
    if (one.id.starts_with(name)) ours.push_back(one);
  }
  REQUIRE(ours.size() == 3);
  CHECK(ours[0].id == name + "-a");
  CHECK(ours[0].starting);
  CHECK(ours[1].id == name + "-aa");
  CHECK(ours[1].starting);
  CHECK(ours[2].id == name + "-b");
  CHECK_FALSE(ours[2].starting);
  CHECK(ours[2].policy == "p.lua");
  CHECK(ours[2].link == "tap");
}

TEST_CASE("who asks a sandbox that ends meanwhile is told that it is gone") {
  Served served;
  const UniqueFd socket = served.Connect();
  served.server.reset();
  const auto sent = SendControl(socket.get(), ControlRequest{"verb", {}}.Encode(), UniqueFd());
  REQUIRE_FALSE(sent);
  CHECK(sent.error().code() == Code::kNotFound);
}

TEST_CASE("a request is answered, with what came attached to it") {
  Served served;
  for (const bool attach : {false, true}) {
    const UniqueFd socket = served.Connect();
    const UniqueFd attached(attach ? dup(STDIN_FILENO) : -1);
    REQUIRE(SendControl(socket.get(), ControlRequest{"verb", {}}.Encode(), attached));
    const auto packet = served.Receive(socket);
    REQUIRE(packet);
    const auto reply = ControlReply::Decode(packet->bytes);
    REQUIRE(reply);
    CHECK(reply->text == "verb");
    CHECK(reply->done == attach);
  }
  CHECK(served.requests == 2);
}

TEST_CASE("a request with more attached than there is use for is refused, and nothing stays open") {
  Served served;
  const UniqueFd socket = served.Connect();
  std::array<int, 2> ends{};
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) == 0);
  const UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  const std::array<int, 2> attached{theirs.get(), theirs.get()};
  REQUIRE(SendMessage(socket.get(), ControlRequest{"verb", {}}.Encode(), attached));
  (void)served.Receive(socket).has_value();
  CHECK(served.requests == 0);
  theirs.reset();
  char byte = 0;
  CHECK(recv(ours.get(), &byte, 1, 0) == 0);
}

TEST_CASE("bytes that are no request get an answer that says so") {
  Served served;
  const UniqueFd socket = served.Connect();
  REQUIRE(SendControl(socket.get(), "\xff\xff", UniqueFd()));
  const auto packet = served.Receive(socket);
  REQUIRE(packet);
  CHECK(ControlReply::Decode(packet->bytes)->text == "not a request");
  CHECK(served.requests == 0);
}

TEST_CASE("another user's connection is closed without an answer") {
  Served served(geteuid() + 1);
  const UniqueFd socket = served.Connect();
  REQUIRE(SendControl(socket.get(), ControlRequest{"verb", {}}.Encode(), UniqueFd()));
  CHECK_FALSE(served.Receive(socket));
  CHECK(served.requests == 0);
}

TEST_CASE("a name that is taken is not taken again, and one that is free leads nowhere") {
  const Served served;
  const auto again = ListenForControl(geteuid(), served.id);
  REQUIRE_FALSE(again);
  CHECK(again.error().code() == Code::kDenied);
  const auto nobody = ConnectToControl(geteuid(), served.id + "-not");
  REQUIRE_FALSE(nobody);
  CHECK(nobody.error().code() == Code::kNotFound);
}

}  // namespace
}  // namespace sallyport::runtime
