// Traffic for bench/run streams: a server, and a client that keeps COUNT connections busy.
//
//     traffic serve PORT
//     traffic KIND ADDRESS PORT COUNT SECONDS      prints: units N rate R [p50 MICROSECONDS]
//
// KIND is down or up (units: bytes), request (64 bytes, an answer of 1 KiB, closed; units:
// connections), pingpong (64 bytes there and back; units: exchanges) or flood (datagrams of 64
// bytes, as fast as can be; units: those that arrived, which the server is asked for over TCP). The
// first byte of a connection tells the server its kind. One thread a connection, blocking calls:
// both ends cost the same in every contender.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kPiece = 256 << 10;
constexpr size_t kRequest = 64;
constexpr size_t kAnswer = 1024;

constexpr int kSocketBuffer = 4 << 20;

std::atomic<uint64_t> datagrams;  // That came to the server.

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::exit(1);
}

bool SendAll(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data += sent;
    size -= static_cast<size_t>(sent);
  }
  return true;
}

bool ReceiveAll(int fd, char* data, size_t size) {
  return recv(fd, data, size, MSG_WAITALL) == static_cast<ssize_t>(size);
}

void NoDelay(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void Answer(int fd) {
  std::vector<char> buffer(kPiece, 'x');
  NoDelay(fd);
  while (ReceiveAll(fd, buffer.data(), kRequest)) {
    const char kind = buffer[0];
    if (kind == 'd') {
      while (SendAll(fd, buffer.data(), kPiece)) {
      }
    } else if (kind == 'u') {
      while (recv(fd, buffer.data(), kPiece, 0) > 0) {
      }
    } else {
      if (kind == 'c') std::snprintf(buffer.data() + 1, kRequest - 1, "%lu", datagrams.load());
      if (!SendAll(fd, buffer.data(), kind == 'r' ? kAnswer : kRequest)) break;
    }
  }
  close(fd);
}

void TakeDatagrams(int fd) {
  std::array<char, 2048> buffer;
  for (;;) {
    if (recv(fd, buffer.data(), buffer.size(), 0) > 0) ++datagrams;
  }
}

int Serve(uint16_t port) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) Die("bind");
  if (listen(listener, 1024) != 0) Die("listen");
  const int udp = socket(AF_INET, SOCK_DGRAM, 0);
  setsockopt(udp, SOL_SOCKET, SO_RCVBUFFORCE, &kSocketBuffer, sizeof kSocketBuffer);
  if (bind(udp, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) Die("bind");
  std::thread(TakeDatagrams, udp).detach();
  std::puts("ready");
  std::fflush(stdout);
  for (;;) {
    const int fd = accept(listener, nullptr, nullptr);
    if (fd < 0) Die("accept");
    std::thread(Answer, fd).detach();
  }
}

struct Load {
  char kind;
  sockaddr_in server;
  Clock::time_point end;
};

struct Done {
  double units = 0;
  std::vector<double> microseconds;
};

int Connect(const Load& load) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) Die("socket");
  if (connect(fd, reinterpret_cast<const sockaddr*>(&load.server), sizeof load.server) != 0) {
    Die("connect");
  }
  NoDelay(fd);
  return fd;
}

void Exchange(int fd, char* buffer, size_t answer) {
  if (!SendAll(fd, buffer, kRequest) || !ReceiveAll(fd, buffer + kRequest, answer)) {
    Die("exchange");
  }
}

void Stream(const Load& load, char* buffer, Done& done) {
  const int fd = Connect(load);
  if (!SendAll(fd, buffer, kRequest)) Die("send");
  while (Clock::now() < load.end) {
    ssize_t moved = kPiece;
    if (load.kind == 'd') {
      moved = recv(fd, buffer, kPiece, 0);
    } else if (!SendAll(fd, buffer, kPiece)) {
      moved = -1;
    }
    if (moved <= 0) Die("stream");
    done.units += static_cast<double>(moved);
  }
  close(fd);
}

void Exchanges(const Load& load, char* buffer, Done& done) {
  int fd = -1;
  while (Clock::now() < load.end) {
    const auto began = Clock::now();
    if (fd < 0) fd = Connect(load);
    Exchange(fd, buffer, load.kind == 'r' ? kAnswer : kRequest);
    if (load.kind == 'r') {
      close(fd);
      fd = -1;
    }
    const std::chrono::duration<double, std::micro> time = Clock::now() - began;
    done.microseconds.push_back(time.count());
    ++done.units;
  }
  if (fd >= 0) close(fd);
}

uint64_t Arrived(int fd) {
  std::array<char, 2 * kRequest> buffer{'c'};
  Exchange(fd, buffer.data(), kRequest);
  return std::strtoull(buffer.data() + kRequest + 1, nullptr, 10);
}

// Counted until no more come: the last are on their way for a while.
void Flood(const Load& load, char* buffer, Done& done) {
  const int counter = Connect(load);
  const uint64_t before = Arrived(counter);
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&load.server), sizeof load.server) != 0) {
    Die("connect");
  }
  // What finds no room is lost, as it would be behind any other bottleneck.
  while (Clock::now() < load.end) {
    for (int i = 0; i < 32; ++i) send(fd, buffer, kRequest, 0);
  }
  uint64_t now = Arrived(counter);
  for (uint64_t last = now + 1; last != now;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    last = now;
    now = Arrived(counter);
  }
  done.units = static_cast<double>(now - before);
  close(fd);
  close(counter);
}

int Run(Load load, size_t count, int seconds) {
  const auto began = Clock::now();
  load.end = began + std::chrono::seconds(seconds);
  std::vector<Done> done(count);
  std::vector<std::thread> threads;
  for (Done& mine : done) {
    threads.emplace_back([&load, &mine] {
      std::vector<char> buffer(kPiece, load.kind);
      if (load.kind == 'f') return Flood(load, buffer.data(), mine);
      const bool bulk = load.kind == 'd' || load.kind == 'u';
      bulk ? Stream(load, buffer.data(), mine) : Exchanges(load, buffer.data(), mine);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::chrono::duration<double> time = Clock::now() - began;
  double units = 0;
  std::vector<double> all;
  for (const Done& one : done) {
    units += one.units;
    all.insert(all.end(), one.microseconds.begin(), one.microseconds.end());
  }
  std::printf("units %.0f rate %.3f", units, units / time.count());
  if (!all.empty()) {
    std::ranges::nth_element(all, all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2));
    std::printf(" p50 %.1f", all[all.size() / 2]);
  }
  std::puts("");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::string_view(argv[1]) == "serve") {
    return Serve(static_cast<uint16_t>(std::atoi(argv[2])));
  }
  if (argc != 6) {
    std::fputs("traffic serve PORT | traffic KIND ADDRESS PORT COUNT SECONDS\n", stderr);
    return 2;
  }
  Load load{.kind = argv[1][0], .server = {}, .end = {}};
  load.server.sin_family = AF_INET;
  load.server.sin_port = htons(static_cast<uint16_t>(std::atoi(argv[3])));
  if (inet_pton(AF_INET, argv[2], &load.server.sin_addr) != 1) Die(argv[2]);
  return Run(load, static_cast<size_t>(std::atoi(argv[4])), std::atoi(argv[5]));
}
