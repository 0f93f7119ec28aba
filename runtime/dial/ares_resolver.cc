// A name's resolution, as steps:
//
//     Resolve -> (cache) -> Ask A and AAAA -> OnAnswer … -> OnSettled -> waiters
//
// Both families are asked at once. A usable IPv4 answer waits kPatience for the other family
// (RFC 8305, section 3). Equal questions under way are asked once. Answers are cached for their TTL,
// within kLeastTtl to kMostTtl; failures for kNegativeTtl, so that a guest's retries cost the outside
// nothing. While no resolver can answer, what was known last is used (kStaleFor).

#include "runtime/dial/ares_resolver.h"

#include <ares.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <list>
#include <map>
#include <set>

#include "base/check.h"
#include "policy/dns_message.h"
#include "runtime/dial/outward.h"

namespace sallyport::runtime {

using namespace std::chrono_literals;
namespace dns = policy::dns;

namespace {

constexpr auto kPatience = 50ms;
constexpr auto kLeastTtl = 1s;
constexpr auto kMostTtl = 300s;
constexpr auto kNegativeTtl = 2s;
constexpr auto kStaleFor = 1h;   // An old address is better than none while no resolver answers (RFC 8767).
constexpr auto kStaleTtl = 30s;  // Then it is asked for again; RFC 8767, section 5.
constexpr int kTryMilliseconds = 1500;  // c-ares doubles it with every round over the servers.
constexpr int kTries = 2;
constexpr int kUdpSize = 1232;  // What our queries say; a longer answer comes over TCP.
constexpr size_t kMaxCached = 4096;
constexpr size_t kMaxUnderWay = 256;    // A guest's names are bounded elsewhere; this bounds our sockets.

// c-ares calls these instead of the system's, so that its sockets, too, go through the one place that
// points a socket at the outside.
ares_socket_t OpenSocket(int family, int type, int protocol, void*) {
  return socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
}
int CloseSocket(ares_socket_t fd, void*) { return close(fd); }
int Connect(ares_socket_t fd, const sockaddr* address, ares_socklen_t length, void*) {
  return ConnectOutward(fd, address, length);
}
ares_ssize_t Receive(ares_socket_t fd, void* bytes, size_t size, int flags, sockaddr* from,
                     ares_socklen_t* length, void*) {
  return recvfrom(fd, bytes, size, flags, from, length);
}
ares_ssize_t Send(ares_socket_t fd, const iovec* pieces, int count, void*) {
  return writev(fd, pieces, count);
}
constexpr ares_socket_functions kSocketFunctions = {OpenSocket, CloseSocket, Connect, Receive, Send};

uint16_t RandomId() {
  uint16_t id = 0;
  SALLYPORT_CHECK(getrandom(&id, sizeof id, 0) == sizeof id);
  return id;
}

class AresResolver : public Resolver {
 public:
  explicit AresResolver(Loop& loop) : loop_(loop) {}
  ~AresResolver() override;

  Status Init(const std::vector<Endpoint>& servers);
  Pending Resolve(const HostName& name, std::function<void(Result<ResolvedName>)> done) override;
  const ResolvedName* Cached(const HostName& name) const override;

 private:
  using Done = std::function<void(Result<ResolvedName>)>;
  struct Waiter {
    uint64_t id;
    Done done;
  };
  /// One name being asked about.
  struct Question {
    explicit Question(HostName asked) : name(std::move(asked)) {}
    HostName name;
    std::list<Waiter> waiters;
    int open = 2;  // Families whose answer is out.
    std::vector<IpAddress> v4, v6;
    std::vector<HostName> chain;
    uint32_t ttl = UINT32_MAX;
    bool name_exists = true;
    std::optional<Error> failure;
    Loop::Handle patience;
  };
  /// What c-ares carries for us. It outlives its question when a patient one has settled before.
  struct Carried {
    AresResolver* resolver;
    std::string name;
    uint64_t generation;
    uint16_t type;
  };
  struct CacheEntry {
    Result<ResolvedName> result;
    Clock::time_point expires;
    Clock::time_point stale_until;  // Of a good one: how long it may be used for want of another.
  };

  static void OnSocketState(void* self, ares_socket_t fd, int read, int write);
  static void OnAresAnswer(void* carried, int status, int timeouts, unsigned char* bytes, int length);

  void Ask(const HostName& name, uint64_t generation, uint16_t type);
  void OnAnswer(const Carried& carried, int status, std::string_view message);
  static void Read(Question& question, const Carried& carried, int status, std::string_view message);
  void Settle(const std::string& name);
  static Result<ResolvedName> Outcome(Question& question, Clock::time_point now);
  bool ServeStale(const std::string& name, Result<ResolvedName>& result);
  void Remember(const std::string& name, const Result<ResolvedName>& result);
  void Process(ares_socket_t read, ares_socket_t write);
  void ArmTimer();

  Loop& loop_;
  ares_channel channel_ = nullptr;
  bool has_servers_ = false;
  uint64_t next_id_ = 1;
  std::map<ares_socket_t, Loop::Handle> watched_;
  std::map<std::string, std::pair<uint64_t, std::unique_ptr<Question>>> questions_;  // With generation.
  std::map<std::string, CacheEntry> cache_;
  std::map<uint64_t, Loop::Handle> starting_;  // Questions not yet given to c-ares, by generation.
  std::map<uint64_t, Loop::Handle> posted_;    // Answers on their way to a waiter.
  Loop::Handle timer_;
};

AresResolver::~AresResolver() {
  questions_.clear();
  // Calls back every open query; OnAnswer finds no question and only frees what it carried.
  if (channel_ != nullptr) ares_destroy(channel_);
}

Status AresResolver::Init(const std::vector<Endpoint>& servers) {
  has_servers_ = !servers.empty();
  ares_options options = {};
  options.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_STAYOPEN | ARES_FLAG_EDNS;
  options.ednspsz = kUdpSize;
  options.timeout = kTryMilliseconds;
  options.tries = kTries;
  options.sock_state_cb = OnSocketState;
  options.sock_state_cb_data = this;
  std::string lookups = "b";  // DNS only: never a file.
  options.lookups = lookups.data();
  options.ndomains = 0;
  const int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB |
                   ARES_OPT_LOOKUPS | ARES_OPT_DOMAINS | ARES_OPT_EDNSPSZ;
  if (const int status = ares_init_options(&channel_, &options, mask); status != ARES_SUCCESS) {
    return Fail(Code::kSystem, std::string("c-ares: ") + ares_strerror(status));
  }
  ares_set_socket_functions(channel_, &kSocketFunctions, nullptr);
  std::string list;
  for (const auto& server : servers) list += (list.empty() ? "" : ",") + server.ToString();
  if (!has_servers_) return {};
  if (const int status = ares_set_servers_ports_csv(channel_, list.c_str()); status != ARES_SUCCESS) {
    return Fail(Code::kInvalid, "resolvers " + list + ": " + ares_strerror(status));
  }
  return {};
}

Pending AresResolver::Resolve(const HostName& name, Done done) {
  const uint64_t id = next_id_++;
  const std::string key = name.text();
  const auto answer_later = [&](Result<ResolvedName> result) {
    posted_[id] = loop_.Post([this, id, call = std::move(done), kept = std::move(result)]() mutable {
      auto moved = std::move(call);
      auto value = std::move(kept);
      posted_.erase(id);
      moved(std::move(value));
    });
    return Pending([this, id] { posted_.erase(id); });
  };
  if (const auto cached = cache_.find(key); cached != cache_.end()) {
    if (cached->second.expires > loop_.now()) return answer_later(cached->second.result);
  }
  if (!has_servers_) return answer_later(Fail(Code::kUnreachable, "no resolver is configured"));
  auto found = questions_.find(key);
  if (found == questions_.end()) {
    if (questions_.size() >= kMaxUnderWay) {
      return answer_later(Fail(Code::kLimit, "too many names are being resolved"));
    }
    found = questions_.emplace(key, std::pair(id, std::make_unique<Question>(name))).first;
    // c-ares may call back at once; from the loop it finds everything in place.
    starting_[id] = loop_.Post([this, id, name] {
      starting_.erase(id);
      Ask(name, id, dns::kTypeA);
      Ask(name, id, dns::kTypeAaaa);
      ArmTimer();
    });
  }
  found->second.second->waiters.push_back({id, std::move(done)});
  return Pending([this, id, key] {
    posted_.erase(id);
    const auto question = questions_.find(key);
    if (question == questions_.end()) return;
    question->second.second->waiters.remove_if([id](const Waiter& waiter) { return waiter.id == id; });
  });
}

const ResolvedName* AresResolver::Cached(const HostName& name) const {
  const auto found = cache_.find(name.text());
  if (found == cache_.end() || found->second.expires <= loop_.now() || !found->second.result) return nullptr;
  return &*found->second.result;
}

void AresResolver::Ask(const HostName& name, uint64_t generation, uint16_t type) {
  const std::string query = dns::BuildQuery(RandomId(), name, type);  // c-ares checks the id.
  auto* carried = new Carried{this, name.text(), generation, type};
  ares_send(channel_, reinterpret_cast<const unsigned char*>(query.data()), static_cast<int>(query.size()),
            OnAresAnswer, carried);
}

void AresResolver::OnAresAnswer(void* carried, int status, int, unsigned char* bytes, int length) {
  const std::unique_ptr<Carried> owned(static_cast<Carried*>(carried));
  std::string_view message;
  if (bytes != nullptr) message = {reinterpret_cast<const char*>(bytes), static_cast<size_t>(length)};
  owned->resolver->OnAnswer(*owned, status, message);
}

void AresResolver::OnAnswer(const Carried& carried, int status, std::string_view message) {
  const auto found = questions_.find(carried.name);
  if (found == questions_.end() || found->second.first != carried.generation) return;
  Question& question = *found->second.second;
  Read(question, carried, status, message);
  --question.open;
  const bool settled = question.open == 0;
  if (!settled && question.v4.empty()) return;
  // From the loop, never from inside c-ares: a waiter may ask again.
  question.patience = loop_.After(settled ? 0ms : kPatience, [this, name = carried.name] { Settle(name); });
}

void AresResolver::Read(Question& question, const Carried& carried, int status,
                        std::string_view message) {
  if (message.empty()) {
    const bool slow = status == ARES_ETIMEOUT;
    question.failure = Error(slow ? Code::kTimeout : Code::kUnreachable,
                             "no resolver answered for " + question.name.text() + ": " + ares_strerror(status));
    return;
  }
  auto answer = dns::ParseResponse(message, question.name, carried.type);
  if (!answer) {
    question.failure = Error(Code::kUnreachable, answer.error().message());
    return;
  }
  if (answer->rcode == dns::Rcode::kNxDomain) {
    question.name_exists = false;
    return;
  }
  if (answer->rcode != dns::Rcode::kNoError || answer->truncated) {
    question.failure = Error(Code::kUnreachable, "the resolvers could not answer for " + question.name.text());
    return;
  }
  if (answer->addresses.empty()) return;
  (carried.type == dns::kTypeA ? question.v4 : question.v6) = std::move(answer->addresses);
  if (question.chain.empty()) question.chain = std::move(answer->chain);
  question.ttl = std::min(question.ttl, answer->ttl);
}

Result<ResolvedName> AresResolver::Outcome(Question& question, Clock::time_point now) {
  if (!question.v4.empty() || !question.v6.empty()) {
    ResolvedName resolved;
    resolved.chain = std::move(question.chain);
    // The families take turns, IPv4 first: the dialler tries the next address soon after.
    const size_t most = std::max(question.v4.size(), question.v6.size());
    for (size_t i = 0; i < most; ++i) {
      if (i < question.v4.size()) resolved.addresses.push_back(question.v4[i]);
      if (i < question.v6.size()) resolved.addresses.push_back(question.v6[i]);
    }
    const auto ttl = std::clamp<Clock::duration>(std::chrono::seconds(question.ttl), kLeastTtl, kMostTtl);
    resolved.expires = now + ttl;
    return resolved;
  }
  if (!question.name_exists) return Fail(Code::kNotFound, question.name.text() + " does not exist");
  if (question.failure) return tl::unexpected(*question.failure);
  return Fail(Code::kNotFound, question.name.text() + " has no address");
}

void AresResolver::Settle(const std::string& name) {
  const auto found = questions_.find(name);
  if (found == questions_.end()) return;
  const auto question = std::move(found->second.second);
  questions_.erase(found);
  auto result = Outcome(*question, loop_.now());
  if (!ServeStale(name, result)) Remember(name, result);
  // Each for itself: a callback may cancel another waiter, which then must not be called.
  for (Waiter& waiter : question->waiters) {
    posted_[waiter.id] = loop_.Post([this, id = waiter.id, done = std::move(waiter.done), result]() mutable {
      auto call = std::move(done);
      auto value = std::move(result);
      posted_.erase(id);
      call(std::move(value));
    });
  }
}

/// Where no resolver could say anything (and not: that there is no such name), what was known last is
/// used for a while. The dialler classifies its addresses again, as ever.
bool AresResolver::ServeStale(const std::string& name, Result<ResolvedName>& result) {
  if (result || result.error().code() == Code::kNotFound) return false;
  const auto cached = cache_.find(name);
  if (cached == cache_.end() || !cached->second.result) return false;
  CacheEntry& entry = cached->second;
  if (entry.stale_until <= loop_.now()) return false;
  entry.expires = std::min(loop_.now() + kStaleTtl, entry.stale_until);
  entry.result->expires = entry.expires;
  result = entry.result;
  return true;
}

void AresResolver::Remember(const std::string& name, const Result<ResolvedName>& result) {
  if (cache_.size() >= kMaxCached) cache_.clear();  // Names are few; a full cache is a guest at play.
  const auto expires = result ? result->expires : loop_.now() + kNegativeTtl;
  cache_.insert_or_assign(name, CacheEntry{result, expires, expires + kStaleFor});
}

void AresResolver::OnSocketState(void* self, ares_socket_t fd, int read, int write) {
  auto& resolver = *static_cast<AresResolver*>(self);
  resolver.watched_.erase(fd);
  if (read == 0 && write == 0) return;
  const uint32_t events = (read != 0 ? uint32_t{EPOLLIN} : 0u) | (write != 0 ? uint32_t{EPOLLOUT} : 0u);
  auto watch = resolver.loop_.Watch(fd, events, [&resolver, fd](uint32_t ready) {
    resolver.Process((ready & ~uint32_t{EPOLLOUT}) != 0 ? fd : ARES_SOCKET_BAD,
                     (ready & EPOLLOUT) != 0 ? fd : ARES_SOCKET_BAD);
  });
  if (watch) resolver.watched_.emplace(fd, *std::move(watch));
}

void AresResolver::Process(ares_socket_t read, ares_socket_t write) {
  ares_process_fd(channel_, read, write);
  ArmTimer();
}

void AresResolver::ArmTimer() {
  timeval time = {};
  if (ares_timeout(channel_, nullptr, &time) == nullptr) {
    timer_ = {};
    return;
  }
  const auto wait = std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
  timer_ = loop_.After(wait, [this] { Process(ARES_SOCKET_BAD, ARES_SOCKET_BAD); });
}

}  // namespace

Result<std::unique_ptr<Resolver>> NewAresResolver(Loop& loop, const std::vector<Endpoint>& servers) {
  auto resolver = std::make_unique<AresResolver>(loop);
  if (auto status = resolver->Init(servers); !status) return tl::unexpected(std::move(status).error());
  return Result<std::unique_ptr<Resolver>>(std::move(resolver));
}

}  // namespace sallyport::runtime
