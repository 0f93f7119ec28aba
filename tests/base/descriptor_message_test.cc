#include "base/descriptor_message.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <catch2/catch.hpp>
#include <string>

namespace sallyport {
namespace {

struct Pair {
  explicit Pair(int type = SOCK_SEQPACKET) {
    std::array<int, 2> fds;
    REQUIRE(socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds.data()) == 0);
    ours = UniqueFd(fds[0]);
    theirs = UniqueFd(fds[1]);
  }
  /// Whether no copy of `theirs` is left anywhere, once it is closed itself.
  bool Ended() const {
    char byte = 0;
    return recv(ours.get(), &byte, 1, 0) == 0;
  }
  UniqueFd ours, theirs;
};

TEST_CASE("a message brings its bytes and its descriptors") {
  for (const int type : {SOCK_SEQPACKET, SOCK_STREAM}) {
    const Pair pair(type);
    Pair attached;
    const int fd = attached.theirs.get();
    REQUIRE(SendMessage(pair.ours.get(), "hello", {&fd, 1}));
    std::array<char, 16> buffer;
    {
      const auto message = ReceiveMessage(pair.theirs.get(), buffer, 1);
      REQUIRE(message);
      CHECK(std::string(buffer.data(), message->bytes) == "hello");
      CHECK_FALSE(message->cut);
      REQUIRE(message->fds.size() == 1);
      CHECK((fcntl(message->fds[0].get(), F_GETFD) & FD_CLOEXEC) != 0);
      attached.theirs.reset();
      CHECK_FALSE(attached.Ended());
    }
    CHECK(attached.Ended());
  }
}

TEST_CASE("no descriptor that comes is left open, however many are expected") {
  for (size_t most = 0; most < 4; ++most) {
    const Pair pair;
    Pair attached;
    const std::array<int, 3> fds{attached.theirs.get(), attached.theirs.get(),
                                 attached.theirs.get()};
    REQUIRE(SendMessage(pair.ours.get(), "x", fds));
    std::array<char, 1> buffer;
    {
      const auto message = ReceiveMessage(pair.theirs.get(), buffer, most);
      REQUIRE(message);
      CHECK(message->cut == (message->fds.size() < 3));
      CHECK(message->fds.size() >= most);
    }
    attached.theirs.reset();
    CHECK(attached.Ended());
  }
}

TEST_CASE("a message that is too long is cut, and says so") {
  const Pair pair;
  REQUIRE(SendMessage(pair.ours.get(), "abc", {}));
  std::array<char, 2> buffer;
  const auto message = ReceiveMessage(pair.theirs.get(), buffer, 0);
  REQUIRE(message);
  CHECK(message->bytes == 2);
  CHECK(message->cut);
}

TEST_CASE("a peer that is gone is an end, also with something of ours unread") {
  for (const bool unread : {false, true}) {
    Pair pair;
    if (unread) REQUIRE(SendMessage(pair.ours.get(), "abc", {}));
    pair.theirs.reset();
    std::array<char, 2> buffer;
    const auto message = ReceiveMessage(pair.ours.get(), buffer, 0);
    REQUIRE(message);
    CHECK(message->bytes == 0);
    CHECK_FALSE(SendMessage(pair.ours.get(), "abc", {}));
  }
}

}  // namespace
}  // namespace sallyport
