#include "mitm/upstream_pool.h"

#include <algorithm>
#include <utility>

#include "base/fd_stream.h"
#include "mitm/guest_tls.h"
#include "mitm/http2/shared_upstreams.h"
#include "mitm/limits.h"

namespace sallyport::mitm {

Refusal DialRefusal(const Error& error) {
  struct Row {
    Code code;
    Reason reason;
    int status;
  };
  static constexpr Row kRows[] = {
      {Code::kAddressRefused, Reason::kAddressRefused, 403},
      {Code::kDenied, Reason::kAddressRefused, 403},
      {Code::kNotFound, Reason::kNameNotFound, 502},
      {Code::kRefused, Reason::kUpstreamRefused, 502},
      {Code::kUnreachable, Reason::kUpstreamUnreachable, 502},
      {Code::kTimeout, Reason::kUpstreamTimeout, 504},
      {Code::kProxyRefused, Reason::kProxyRefused, 502},
      {Code::kProxyTimeout, Reason::kProxyTimeout, 504},
      {Code::kLimit, Reason::kLimit, 503},
  };
  Refusal refusal{.reason = Reason::kResolverFailed,
                  .status = 502,
                  .detail = error.message(),
                  .rule = {},
                  .how_to_allow = {}};
  for (const Row& row : kRows) {
    if (row.code != error.code()) continue;
    refusal.reason = row.reason;
    refusal.status = row.status;
  }
  if (refusal.reason == Reason::kAddressRefused) {
    refusal.how_to_allow =
        "add resolves_to with the address's range to the rule that grants this host";
  }
  return refusal;
}

std::string UpstreamTarget::Key() const {
  std::string key = ToString(destination.host);
  key.append(" ").append(std::to_string(destination.port));
  key.append(destination.chosen_by_user ? " chosen " : " ");
  key.append(std::to_string(destination.filter.classes));
  for (const Prefix& prefix : destination.filter.prefixes) {
    key.append(" ").append(prefix.ToString());
  }
  if (tls) key.append(" tls ").append(ToString(identity)).append(" ").append(verification);
  return key;
}

/// One connection on its way. Every failure leaves it through Refuse():
///
///     Start -> OnDialed -> (OnStreamReady: handshake) -> Deliver
class UpstreamPool::Connecting final : private Stream::Listener {
 public:
  Connecting(UpstreamPool& pool, UpstreamTarget target, std::string key, Protocols protocols,
             std::function<void(Connected)> done)
      : pool_(pool),
        target_(std::move(target)),
        key_(std::move(key)),
        protocols_(protocols),
        done_(std::move(done)),
        deadline_(pool.loop_, [this] { OnTimeout(); }) {}
  ~Connecting() {
    if (stream_) stream_->SetListener(nullptr);
  }

  void Start() {
    deadline_.Set(kConnectTimeout);
    dialing_ = pool_.dialer_.Dial(target_.destination, Transport::kTcp,
                                  [this](Result<Dialed> dialed) { OnDialed(std::move(dialed)); });
  }

 private:
  void OnDialed(Result<Dialed> dialed) {
    if (!dialed) return Refuse(DialRefusal(dialed.error()));
    peer_ = dialed->peer;
    auto socket = MakeFdStream(pool_.loop_, std::move(dialed->socket));
    if (!socket) return Refuse(DialRefusal(socket.error()));
    if (!target_.tls) return Deliver(std::move(*socket));
    stream_ =
        pool_.tls_.Connect(pool_.loop_, std::move(*socket), target_.identity, key_, protocols_);
    if (!stream_) {
      return Refuse({.reason = Reason::kUpstreamTls,
                     .status = 502,
                     .detail = "no certificate can be verified for this host",
                     .rule = {},
                     .how_to_allow = {}});
    }
    deadline_.Set(kUpstreamHandshakeTimeout);
    stream_->SetListener(this);
    OnStreamReady();
  }

  void OnStreamReady() override {
    switch (stream_->Handshake()) {
      case TlsStream::Phase::kHandshake:
        return;
      case TlsStream::Phase::kOpen:
        stream_->SetListener(nullptr);
        if (AlpnOf(stream_->ssl()) == kAlpnHttp2) protocol_ = Protocol::kHttp2;
        return Deliver(std::move(stream_));
      case TlsStream::Phase::kFailed:
        return RefuseTls();
    }
  }

  void RefuseTls() {
    const TlsFailure& failure = stream_->failure();
    const std::string who = ToString(target_.identity);
    Refusal refusal{.reason = Reason::kUpstreamTls,
                    .status = 502,
                    .detail = "TLS with " + who + " failed: " + failure.detail,
                    .rule = {},
                    .how_to_allow = {}};
    if (failure.kind == TlsFailure::Kind::kCertificate) {
      refusal.detail = "the certificate that " + who + " presented was refused: " + failure.detail;
      refusal.how_to_allow = failure.advice;
    }
    Refuse(std::move(refusal));
  }

  void OnTimeout() {
    Refuse({.reason = Reason::kUpstreamTimeout,
            .status = 504,
            .detail = peer_ ? "the server's TLS handshake took too long"
                            : "the server could not be connected to in time",
            .rule = {},
            .how_to_allow = {}});
  }

  void Deliver(std::unique_ptr<Stream> stream) {
    auto connection = std::make_unique<UpstreamConnection>();
    connection->stream = std::move(stream);
    connection->peer = *peer_;
    connection->key = key_;
    connection->protocol = protocol_;
    Finish({.connection = std::move(connection), .refusal = {}, .address = peer_->address});
  }

  void Refuse(Refusal refusal) {
    std::optional<IpAddress> address;
    if (peer_) address = peer_->address;
    Finish({.connection = nullptr, .refusal = std::move(refusal), .address = address});
  }

  void Finish(Connected connected) {
    deadline_.Clear();
    const auto done = std::move(done_);
    done(std::move(connected));  // May destroy this.
  }

  UpstreamPool& pool_;
  const UpstreamTarget target_;
  const std::string key_;
  const Protocols protocols_;
  Protocol protocol_ = Protocol::kHttp1;
  std::function<void(Connected)> done_;
  std::optional<Endpoint> peer_;
  std::unique_ptr<TlsStream> stream_;
  Pending dialing_;
  Deadline deadline_;
};

/// An idle connection. A server that has anything to say on it, or leaves, ends it.
struct UpstreamPool::Idle final : Stream::Listener {
  Idle(UpstreamPool& owner, std::unique_ptr<UpstreamConnection> idle)
      : pool(owner), connection(std::move(idle)), since(owner.loop_.now()) {}

  bool Alive() {
    uint8_t byte;
    return connection->stream->Read({&byte, 1}).kind == ReadResult::Kind::kWouldBlock;
  }
  void OnStreamReady() override {
    if (!Alive()) pool.Drop(self);
  }

  UpstreamPool& pool;
  std::unique_ptr<UpstreamConnection> connection;
  const Clock::time_point since;
  IdleList::iterator self;
};

UpstreamPool::UpstreamPool(Loop& loop, Dialer& dialer, UpstreamTls& tls)
    : loop_(loop),
      dialer_(dialer),
      tls_(tls),
      expiry_(loop, [this] { DropExpired(); }),
      shared_(std::make_unique<http2::SharedUpstreams>(
          loop, [this](const UpstreamTarget& target, const std::string& key,
                       std::function<void(Connected)> done) {
            return Dial(target, key, Protocols::kAny, std::move(done));
          })) {}

UpstreamPool::~UpstreamPool() {
  while (!idle_.empty()) Drop(idle_.begin());
}

Pending UpstreamPool::Connect(const UpstreamTarget& target, std::string key, Protocols protocols,
                              std::function<void(Connected)> done) {
  if (protocols == Protocols::kAny && target.tls) {
    return shared_->Open(target, key, std::move(done));
  }
  return Dial(target, std::move(key), Protocols::kHttp1, std::move(done));
}

std::optional<Protocol> UpstreamPool::Learnt(const std::string& key) {
  return shared_->Learnt(key);
}

size_t UpstreamPool::shared() const {
  return shared_->connections();
}

Pending UpstreamPool::Dial(const UpstreamTarget& target, std::string key, Protocols protocols,
                           std::function<void(Connected)> done) {
  auto connecting =
      std::make_unique<Connecting>(*this, target, std::move(key), protocols, std::move(done));
  connecting->Start();
  // Whoever holds the Pending owns the attempt.
  return Pending(
      [owned = std::shared_ptr<Connecting>(std::move(connecting))]() mutable { owned.reset(); });
}

std::unique_ptr<UpstreamConnection> UpstreamPool::TakeIdle(const std::string& key,
                                                           Protocols protocols) {
  if (protocols == Protocols::kAny) {
    if (auto shared = shared_->Take(key)) return shared;
    if (Learnt(key) == Protocol::kHttp2) return nullptr;
  }
  for (auto found = by_key_.find(key); found != by_key_.end(); found = by_key_.find(key)) {
    const auto latest = found->second.back();
    const bool alive = latest->Alive();
    auto connection = Extract(latest);
    if (!alive) continue;
    connection->reused = true;
    return connection;
  }
  return nullptr;
}

void UpstreamPool::PutBack(std::unique_ptr<UpstreamConnection> connection) {
  auto& same = by_key_[connection->key];
  if (same.size() >= kMaxIdlePerKey) {
    const auto oldest = same.front();
    Drop(oldest);  // Does not empty SAME, so it stays.
  } else if (idle_.size() >= kMaxIdle) {
    const std::string key = connection->key;
    if (same.empty()) by_key_.erase(key);
    Drop(idle_.begin());
    return PutBack(std::move(connection));
  }
  const auto entry = idle_.emplace(idle_.end(), *this, std::move(connection));
  entry->self = entry;
  same.push_back(entry);
  entry->connection->stream->SetListener(&*entry);
  if (idle_.size() == 1) expiry_.Set(kUpstreamIdleTimeout);
}

std::unique_ptr<UpstreamConnection> UpstreamPool::Extract(IdleList::iterator entry) {
  auto connection = std::move(entry->connection);
  connection->stream->SetListener(nullptr);
  const auto found = by_key_.find(connection->key);
  std::erase(found->second, entry);
  if (found->second.empty()) by_key_.erase(found);
  idle_.erase(entry);
  return connection;
}

void UpstreamPool::Drop(IdleList::iterator entry) {
  (void)Extract(entry);
}

void UpstreamPool::DropExpired() {
  while (!idle_.empty() && loop_.now() - idle_.front().since >= kUpstreamIdleTimeout) {
    Drop(idle_.begin());
  }
  if (!idle_.empty()) {
    expiry_.Set(kUpstreamIdleTimeout - (loop_.now() - idle_.front().since));
  }
}

}  // namespace sallyport::mitm
