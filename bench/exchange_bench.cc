// What one request costs the HTTP gate, without the network stack: TLS with the guest, policy,
// secrets and TLS with the server, over sockets of the loopback interface. Client and server are a
// child process, so that CPU time, instructions and allocations counted here are the gate's alone.
//
//     exchange_bench [IN_FLIGHT [REQUESTS [close]]]
//     valgrind --tool=callgrind build/release/bench/exchange_bench 1 5000
//
// With `close` each request has a connection of its own. Under callgrind, instructions per request
// are the difference between two runs that differ in REQUESTS, whatever else the machine does.

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <list>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "base/audit.h"
#include "base/check.h"
#include "base/fd_stream.h"
#include "base/loop.h"
#include "mitm/interceptor.h"
#include "mitm/tls_stream.h"
#include "policy/engine.h"
#include "secrets/store.h"
#include "tests/fakes/fake_waits.h"
#include "tests/fakes/loopback_dialer.h"
#include "tests/mitm/certificates.h"

namespace {
uint64_t allocations = 0;
}

// NOLINTBEGIN: counts what C++ allocates; what C libraries do is not in it.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  if (void* made = std::malloc(size)) return made;
  std::abort();
}
[[gnu::noinline]] void operator delete(void* bytes) noexcept {
  std::free(bytes);
}
[[gnu::noinline]] void operator delete(void* bytes, std::size_t) noexcept {
  std::free(bytes);
}
// NOLINTEND

namespace sallyport::mitm {
namespace {

constexpr const char* kHost = "api.example.test";
constexpr const char* kValue = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";
constexpr size_t kBody = 1024;
constexpr size_t kWarmUp = 500;  // Requests before the measurement.

struct Listening {
  UniqueFd socket;
  uint16_t port = 0;
};

Listening Listen() {
  Listening listening{UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0))};
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* any = reinterpret_cast<sockaddr*>(&address);
  SALLYPORT_CHECK(bind(listening.socket.get(), any, size) == 0);
  SALLYPORT_CHECK(listen(listening.socket.get(), 128) == 0);
  SALLYPORT_CHECK(getsockname(listening.socket.get(), any, &size) == 0);
  listening.port = ntohs(address.sin_port);
  return listening;
}

std::unique_ptr<Stream> StreamOf(Loop& loop, int fd) {
  auto stream = MakeFdStream(loop, UniqueFd(fd));
  SALLYPORT_CHECK(stream.has_value());
  return std::move(*stream);
}

/// Calls ON_CONNECTION with each socket that LISTENING accepts.
Loop::Handle Accept(Loop& loop, const Listening& listening,
                    std::function<void(int)> on_connection) {
  auto watch = loop.Watch(
      listening.socket.get(), EPOLLIN, [&listening, call = std::move(on_connection)](uint32_t) {
        const int fd = accept4(listening.socket.get(), nullptr, nullptr, SOCK_CLOEXEC);
        if (fd >= 0) call(fd);
      });
  SALLYPORT_CHECK(watch.has_value());
  return std::move(*watch);
}

// ---- The other process: clients, and the server.

/// One end of a TLS connection: a server that answers each request, or a client that asks again as
/// soon as it was answered.
class Peer final : private Stream::Listener {
 public:
  enum class Role { kServer, kClient };

  Peer(Loop& loop, SSL_CTX* context, int fd, Role role, std::string says,
       std::function<void(Peer&)> answered)
      : role_(role), says_(std::move(says)), answered_(std::move(answered)) {
    bssl::UniquePtr<SSL> ssl(SSL_new(context));
    if (role == Role::kServer) {
      SSL_set_accept_state(ssl.get());
    } else {
      SSL_set_connect_state(ssl.get());
      SSL_set_tlsext_host_name(ssl.get(), kHost);
    }
    stream_ = std::make_unique<TlsStream>(loop, std::move(ssl), StreamOf(loop, fd), std::string(),
                                          TlsStream::Plaintext::kOrdinary);
    stream_->SetListener(this);
    OnStreamReady();
  }

 private:
  void OnStreamReady() override {
    if (!open_) {
      if (stream_->Handshake() != TlsStream::Phase::kOpen) return;
      open_ = true;
      if (role_ == Role::kClient) stream_->Write(says_);
    }
    uint8_t bytes[16384];
    for (;;) {
      const ReadResult result = stream_->Read(bytes);
      if (result.kind != ReadResult::Kind::kBytes) break;
      received_.append(reinterpret_cast<const char*>(bytes), result.bytes);
    }
    const size_t head = received_.find("\r\n\r\n");
    const size_t size = head + 4 + (role_ == Role::kClient ? kBody : 0);
    if (head != std::string::npos && received_.size() >= size) {
      received_.erase(0, size);
      if (role_ == Role::kServer || !answered_) {
        stream_->Write(says_);
      } else {
        return answered_(*this);  // Destroys this.
      }
    }
    stream_->Flush();
  }

  const Role role_;
  const std::string says_;
  const std::function<void(Peer&)> answered_;
  std::unique_ptr<TlsStream> stream_;
  bool open_ = false;
  std::string received_;
};

int Connect(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  SALLYPORT_CHECK(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  return fd;
}

struct Load {
  size_t in_flight = 1;
  bool close = false;
  std::string credential;
};

/// Clients of GATE and the server behind ORIGIN, until the process is killed.
class Others {
 public:
  Others(Load load, const Listening& gate, const Listening& origin, const TestCertificate& identity)
      : load_(std::move(load)), gate_(gate), loop_(std::move(*Loop::Create())) {
    client_.reset(SSL_CTX_new(TLS_method()));
    server_.reset(SSL_CTX_new(TLS_method()));
    SSL_CTX_use_certificate(server_.get(), identity.certificate.get());
    SSL_CTX_use_PrivateKey(server_.get(), identity.key.get());
    accepting_ = Accept(*loop_, origin, [this](int fd) {
      peers_.push_back(std::make_unique<Peer>(
          *loop_, server_.get(), fd, Peer::Role::kServer,
          "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
          "Content-Type: application/octet-stream\r\nContent-Length: " +
              std::to_string(kBody) +
              "\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nConnection: keep-alive\r\n"
              "ETag: \"65920080-400\"\r\nAccept-Ranges: bytes\r\n\r\n" +
              std::string(kBody, 'k'),
          nullptr));
    });
  }

  void Run() {
    for (size_t i = 0; i < load_.in_flight; ++i) Open();
    while (loop_->RunOnce()) {
      for (; gone_ > 0; --gone_) Open();
      over_.clear();
    }
  }

 private:
  void Open() {
    std::function<void(Peer&)> answered;
    if (load_.close) answered = [this](Peer& peer) { Close(peer); };
    peers_.push_back(std::make_unique<Peer>(
        *loop_, client_.get(), Connect(gate_.port), Peer::Role::kClient,
        std::string("GET /kib HTTP/1.1\r\nHost: ") + kHost + "\r\nAuthorization: Bearer " +
            load_.credential + "\r\n" + (load_.close ? "Connection: close\r\n\r\n" : "\r\n"),
        std::move(answered)));
  }
  void Close(Peer& peer) {
    for (auto at = peers_.begin(); at != peers_.end(); ++at) {
      if (at->get() != &peer) continue;
      over_.splice(over_.end(), peers_, at);
      break;
    }
    ++gone_;
  }

  const Load load_;
  const Listening& gate_;
  std::unique_ptr<Loop> loop_;
  bssl::UniquePtr<SSL_CTX> client_;
  bssl::UniquePtr<SSL_CTX> server_;
  std::list<std::unique_ptr<Peer>> peers_;
  std::list<std::unique_ptr<Peer>> over_;  // Destroyed when their callbacks have returned.
  size_t gone_ = 0;
  Loop::Handle accepting_;
};

// ---- The gate.

class CountingAudit final : public AuditSink {
 public:
  void Write(const AuditRecord& record) override {
    // What is under way at the end is abandoned.
    SALLYPORT_CHECK(over || (record.status == 200 && record.secrets.size() == 1));
    ++records;
  }
  bool healthy() const override { return true; }
  size_t records = 0;
  bool over = false;
};

class Bench {
 public:
  Bench(const Listening& gate, uint16_t origin, const std::string& roots)
      : loop_(std::move(*Loop::Create())), dialer_(*loop_, origin) {
    auto loaded =
        policy::Engine::Load({.text = std::string("allow.http { host = \"") + kHost + "\" }\n",
                              .name = "policy.lua",
                              .folder = "/"});
    SALLYPORT_CHECK(loaded.engine != nullptr);
    engine_ = std::move(loaded.engine);
    SecretSpec spec;
    spec.name = "TOKEN";
    spec.hosts = {*HostPattern::Parse(kHost)};
    SALLYPORT_CHECK(secrets_.Add(std::move(spec), *secrets::Secret::Create(kValue)).has_value());
    interceptor_ = std::move(
        *Interceptor::Create({.loop = *loop_,
                              .dialer = dialer_,
                              .engine = *engine_,
                              .secrets = secrets_,
                              .audit = audit_,
                              .terminate = [](const std::string&) {},
                              .waits = waits_},
                             {.system_roots = [roots] { return roots; }, .extra_roots = {}}));
    accepting_ = Accept(*loop_, gate, [this](int fd) { Serve(fd); });
  }

  ~Bench() { audit_.over = true; }

  std::string credential() const { return *secrets_.PlaceholderOf("TOKEN"); }

  /// Runs until COUNT more requests have been answered.
  void Answer(size_t count) {
    const size_t until = audit_.records + count;
    while (audit_.records < until) SALLYPORT_CHECK(loop_->RunOnce().has_value());
  }

 private:
  void Serve(int fd) {
    HttpFlow flow;
    flow.facts.destination = {IpAddress::V4(203, 0, 113, 5), 443};
    flow.facts.name = *HostName::Parse(kHost);
    flow.verdict = engine_->DecideFlow(flow.facts);
    interceptor_->Serve(StreamOf(*loop_, fd), std::move(flow));
  }

  std::unique_ptr<Loop> loop_;
  LoopbackDialer dialer_;
  std::unique_ptr<policy::Engine> engine_;
  secrets::Store secrets_;
  CountingAudit audit_;
  policy::FakeWaits waits_;
  std::unique_ptr<Interceptor> interceptor_;
  Loop::Handle accepting_;
};

double CpuMicroseconds() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}

int Main(int argc, char** argv) {
  Load load;
  if (argc > 1) load.in_flight = std::strtoul(argv[1], nullptr, 10);
  const size_t requests = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 20'000;
  load.close = argc > 3;

  const TestCertificate roots = MakeTestCertificate({.name = "Roots", .authority = true});
  const TestCertificate identity =
      MakeTestCertificate({.name = kHost, .dns = kHost, .issuer = &roots});
  const Listening gate = Listen();
  const Listening origin = Listen();
  Bench bench(gate, origin.port, roots.Pem());
  load.credential = bench.credential();
  const pid_t parent = getpid();
  const pid_t others = fork();
  if (others == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent) Others(std::move(load), gate, origin, identity).Run();
    _exit(1);
  }
  bench.Answer(kWarmUp);
  const uint64_t allocated = allocations;
  const double began = CpuMicroseconds();
  bench.Answer(requests);
  const auto count = static_cast<double>(requests);
  std::printf("%zu in flight%s: %.2f us of CPU and %.1f allocations a request\n", load.in_flight,
              load.close ? ", a connection each" : "", (CpuMicroseconds() - began) / count,
              static_cast<double>(allocations - allocated) / count);
  kill(others, SIGKILL);
  return 0;
}

}  // namespace
}  // namespace sallyport::mitm

int main(int argc, char** argv) {
  return sallyport::mitm::Main(argc, argv);
}
