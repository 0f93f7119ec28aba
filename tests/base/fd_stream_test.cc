#include "base/fd_stream.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <string>

namespace sallyport {
namespace {

/// A stream over one end of a socket pair; the test holds the other end.
struct Ends final : Stream::Listener {
  Ends() {
    loop = std::move(*Loop::Create());
    int fds[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    peer = UniqueFd(fds[1]);
    stream = std::move(*MakeFdStream(*loop, UniqueFd(fds[0])));
    stream->SetListener(this);
  }
  void OnStreamReady() override { ++told; }

  void Turn() { REQUIRE(loop->RunOnce()); }

  std::string PeerReads() {
    std::array<char, 65536> buffer;
    const ssize_t size = read(peer.get(), buffer.data(), buffer.size());
    return size > 0 ? std::string(buffer.data(), static_cast<size_t>(size)) : "";
  }
  void PeerWrites(const std::string& bytes) {
    REQUIRE(write(peer.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  }
  std::string Read(size_t size = 100) {
    std::string bytes(size, '\0');
    const ReadResult result = stream->Read({reinterpret_cast<uint8_t*>(bytes.data()), size});
    last = result.kind;
    bytes.resize(result.bytes);
    return bytes;
  }

  std::unique_ptr<Loop> loop;
  UniqueFd peer;
  std::unique_ptr<Stream> stream;
  int told = 0;
  ReadResult::Kind last = ReadResult::Kind::kWouldBlock;
};

TEST_CASE("bytes that a peer sends are told about and read in pieces of any size") {
  Ends ends;
  ends.Turn();
  const int told = ends.told;
  CHECK(ends.Read().empty());
  CHECK(ends.last == ReadResult::Kind::kWouldBlock);
  ends.PeerWrites("hello");
  ends.Turn();
  CHECK(ends.told > told);
  CHECK(ends.Read(2) == "he");
  CHECK(ends.Read(100) == "llo");
  CHECK(ends.Read(100).empty());
  CHECK(ends.last == ReadResult::Kind::kWouldBlock);
}

TEST_CASE("a read says when it took all there was, and a later byte is told about") {
  Ends ends;
  std::array<uint8_t, 4> buffer;
  ends.PeerWrites("hello");
  ends.Turn();
  CHECK_FALSE(ends.stream->Read(buffer).drained);
  CHECK(ends.stream->Read(buffer).drained);
  const int told = ends.told;
  ends.PeerWrites("!");
  ends.Turn();
  CHECK(ends.told > told);
  CHECK(ends.Read() == "!");
}

TEST_CASE("a stream whose end has arrived is not drained before the end is read") {
  Ends ends;
  std::array<uint8_t, 8> buffer;
  ends.PeerWrites("hello");
  ends.peer.reset();
  ends.Turn();
  CHECK_FALSE(ends.stream->Read(buffer).drained);
  CHECK(ends.stream->Read(buffer).kind == ReadResult::Kind::kEnd);
}

TEST_CASE("written bytes are sent at the end of the turn, or at once when flushed") {
  Ends ends;
  CHECK(ends.stream->Write("one") == 3);
  CHECK(ends.PeerReads().empty());
  ends.Turn();
  CHECK(ends.PeerReads() == "one");
  CHECK(ends.stream->Write("two") == 3);
  ends.stream->Flush();
  CHECK(ends.PeerReads() == "two");
}

TEST_CASE("a peer's end comes behind its last bytes") {
  Ends ends;
  ends.PeerWrites("bye");
  ends.peer.reset();
  ends.Turn();
  CHECK(ends.Read() == "bye");
  CHECK(ends.Read().empty());
  CHECK(ends.last == ReadResult::Kind::kEnd);
}

TEST_CASE("a writer is stopped by a peer that does not read, and told when it may go on") {
  Ends ends;
  ends.Turn();
  const std::string block(100'000, 'x');
  size_t written = 0;
  for (;;) {
    const size_t taken = ends.stream->Write(block);
    written += taken;
    if (taken < block.size()) break;
  }
  const int told = ends.told;
  size_t read = 0;
  while (read < written) {
    const size_t size = ends.PeerReads().size();
    read += size;
    if (size == 0) ends.Turn();
  }
  CHECK(read == written);
  CHECK(ends.told > told);
  CHECK(ends.stream->Room() >= 32 * 1024);
}

TEST_CASE("closing the sending direction lets the other one go on") {
  Ends ends;
  CHECK(ends.stream->Write("last") == 4);
  ends.stream->CloseWrite();
  CHECK(ends.stream->Write("more") == 0);
  CHECK(ends.stream->Room() == 0);
  CHECK(ends.PeerReads() == "last");
  CHECK(ends.PeerReads().empty());
  ends.PeerWrites("answer");
  ends.Turn();
  CHECK(ends.Read() == "answer");
}

TEST_CASE("an aborted stream is broken for both sides") {
  Ends ends;
  CHECK(ends.stream->Write("lost") == 4);
  ends.stream->Abort();
  CHECK(ends.Read().empty());
  CHECK(ends.last == ReadResult::Kind::kBroken);
  CHECK(ends.stream->Write("more") == 0);
  CHECK(ends.PeerReads().empty());
}

TEST_CASE("what a destroyed stream had not sent is sent all the same") {
  Ends ends;
  std::string sent;
  const std::string block(90'000, 'y');
  // Until the kernel takes no more, so that something stays behind in the stream.
  while (ends.stream->Write(block) == block.size()) sent += block;
  const size_t before = sent.size();
  ends.stream.reset();
  std::string received;
  for (;;) {
    char buffer[65536];
    const ssize_t size = read(ends.peer.get(), buffer, sizeof buffer);
    if (size == 0) break;
    if (size > 0) received.append(buffer, static_cast<size_t>(size));
    if (size < 0) ends.Turn();
  }
  CHECK(received.size() > before);
}

TEST_CASE("a listener set late is told what happened before") {
  Ends ends;
  ends.stream->SetListener(nullptr);
  ends.PeerWrites("x");
  ends.Turn();
  const int told = ends.told;
  ends.stream->SetListener(&ends);
  CHECK(ends.told == told);
  ends.Turn();
  CHECK(ends.told > told);
}

TEST_CASE("a listener may destroy the stream") {
  struct Destroyer final : Stream::Listener {
    void OnStreamReady() override { stream->reset(); }
    std::unique_ptr<Stream>* stream = nullptr;
  } destroyer;
  Ends ends;
  destroyer.stream = &ends.stream;
  ends.stream->SetListener(&destroyer);
  ends.PeerWrites("x");
  ends.Turn();
  CHECK(ends.stream == nullptr);
}

}  // namespace
}  // namespace sallyport
