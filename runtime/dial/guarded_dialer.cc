// Dialling, as steps; every failure leaves through Finish():
//
//     Start -> OnAddresses -> TryNext -> OnReady -> Finish
//                               ^  |
//                               +--+ kStagger later, or when one failed
//
// and where the host's own proxy is used, whose addresses are then the ones that are tried:
//
//     Start -> OnAddresses -> AskProxy -> TryNext -> OnReady -> OnTunnel -> Finish
//
// The guard is on the destination either way, as far as this host can resolve it. The proxy resolves
// a name once more, so there is no choice among its addresses: each must be admitted.
//
// Limits: kMaxAddresses of a name are tried; the whole takes at most kDeadline. A Pending that is
// destroyed destroys its attempt, and with it every socket.

#include "runtime/dial/guarded_dialer.h"

#include <sys/epoll.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "runtime/dial/outward.h"
#include "runtime/dial/parent_proxy.h"
#include "runtime/dial/proxy_tunnel.h"

namespace sallyport::runtime {

using namespace std::chrono_literals;

namespace {

constexpr auto kDeadline = 10s;    // Clients give up at 10 to 30 s; they shall read why before.
constexpr auto kStagger = 250ms;   // RFC 8305, section 5.
constexpr size_t kMaxAddresses = 8;

bool Admits(const Destination& destination, const IpAddress& address) {
  if (destination.chosen_by_user) return true;
  if (std::holds_alternative<HostName>(destination.host)) return destination.filter.AdmitsForName(address);
  return destination.filter.Admits(address);
}

/// Whether DESTINATION may be at ADDRESS even where that is this host itself.
bool AdmitsOwn(const Destination& destination, const IpAddress& address) {
  return destination.chosen_by_user || (std::holds_alternative<IpAddress>(destination.host) &&
                                        destination.filter.Names(address));
}

struct RefusedAddress {
  IpAddress address;
  bool own = false;
};

Error RefusedAddresses(std::string text, const std::vector<RefusedAddress>& refused) {
  for (const auto& [address, own] : refused) {
    text += ' ';
    text += address.ToString();
    text += " (";
    text += own ? "of this host itself" : ToString(Classify(address));
    text += ')';
  }
  return Error(Code::kAddressRefused, std::move(text));
}

/// The address of a proxy that is written as one. "localhost" is not a name to ask a server for (RFC
/// 6761, 6.3), and a common place for a proxy.
std::optional<IpAddress> AddressOf(const Host& proxy) {
  if (const auto* address = std::get_if<IpAddress>(&proxy)) return *address;
  if (std::get<HostName>(proxy).text() == "localhost") return IpAddress::V4(127, 0, 0, 1);
  return std::nullopt;
}

}  // namespace

class GuardedDialer::Attempt {
 public:
  Attempt(GuardedDialer& owner, uint64_t id, Destination destination, Transport transport,
          std::function<void(Result<Dialed>)> done)
      : owner_(owner),
        id_(id),
        destination_(std::move(destination)),
        transport_(transport),
        done_(std::move(done)) {}

  void Start() {
    deadline_ = owner_.loop_.After(kDeadline, [this] {
      Finish(tl::unexpected(Timeout()));
    });
    if (const auto* name = std::get_if<HostName>(&destination_.host)) {
      resolving_ = owner_.resolver_.Resolve(*name, [this](Result<ResolvedName> resolved) {
        if (resolved) return OnAddresses(resolved->addresses);
        // Behind a proxy, names of the outside are often for it alone to resolve.
        if (MayUseProxy()) return AskProxy();
        Finish(tl::unexpected(std::move(resolved).error()));
      });
      return;
    }
    const auto address = std::get<IpAddress>(destination_.host);
    posted_ = owner_.loop_.Post([this, address] { OnAddresses({address}); });
  }

 private:
  struct Candidate {
    Endpoint peer;
    UniqueFd socket;
    Loop::Handle watch;
  };

  void OnAddresses(const std::vector<IpAddress>& addresses) {
    std::vector<RefusedAddress> refused;
    for (const auto& address : addresses) {
      if (!Admits(destination_, address)) {
        refused.push_back({address});
      } else if (!AdmitsOwn(destination_, address) && owner_.is_own_(address)) {
        refused.push_back({address, true});
      } else if (peers_.size() < kMaxAddresses) {
        peers_.push_back({address, destination_.port});
      }
    }
    const std::string host = ToString(destination_.host);
    if (peers_.empty()) {
      return Finish(tl::unexpected(
          RefusedAddresses(host + " has only addresses that are refused:", refused)));
    }
    if (!MayUseProxy() || AllSkipped()) return TryNext();
    if (!refused.empty()) {
      return Finish(tl::unexpected(RefusedAddresses(
          host + " has addresses that are refused, and the parent proxy may choose one of them:",
          refused)));
    }
    AskProxy();
  }

  /// Whether what is known before the name is resolved lets the host's proxy have it.
  bool MayUseProxy() const {
    return owner_.parent_ != nullptr && transport_ == Transport::kTcp &&
           !owner_.parent_->Skips(destination_.host, destination_.port);
  }

  /// Whether the destination's addresses are all such that no proxy is used.
  bool AllSkipped() const {
    return std::all_of(peers_.begin(), peers_.end(), [this](const Endpoint& peer) {
      return owner_.parent_->Skips(peer.address, peer.port);
    });
  }

  /// From here on the peers are the proxy's addresses, of whatever class: the host's own
  /// configuration names them.
  void AskProxy() {
    proxy_ = owner_.parent_;
    peers_.clear();
    if (const auto address = AddressOf(proxy_->host())) {
      peers_.push_back({*address, proxy_->port()});
      return TryNext();
    }
    resolving_ = owner_.resolver_.Resolve(
        std::get<HostName>(proxy_->host()), [this](Result<ResolvedName> resolved) {
          if (!resolved) return Finish(tl::unexpected(InProxysName(resolved.error())));
          for (const auto& address : resolved->addresses) {
            if (peers_.size() < kMaxAddresses) peers_.push_back({address, proxy_->port()});
          }
          TryNext();
        });
  }

  Error InProxysName(const Error& error) const {
    const Code code = error.code() == Code::kTimeout ? Code::kProxyTimeout : Code::kProxyRefused;
    return Error(code, "the parent proxy " + proxy_->Where() + ": " + error.message());
  }

  Error Timeout() const {
    if (proxy_ == nullptr) {
      return Error(Code::kTimeout, ToString(destination_.host) + " did not answer within 10 s");
    }
    return Error(Code::kProxyTimeout, "the parent proxy " + proxy_->Where() +
                                          " did not connect to " + ToString(destination_.host) +
                                          " within 10 s");
  }

  void TryNext() {
    while (next_ < peers_.size()) {
      const Endpoint peer = peers_[next_++];
      auto socket = StartConnect(peer, transport_);
      if (!socket) {
        last_error_ = std::move(socket).error();
        continue;
      }
      if (transport_ != Transport::kTcp) return Finish(Dialed{*std::move(socket), peer});
      auto candidate = std::make_unique<Candidate>();
      candidate->peer = peer;
      candidate->socket = *std::move(socket);
      auto watch = owner_.loop_.Watch(candidate->socket.get(), EPOLLOUT,
                                      [this, raw = candidate.get()](uint32_t) { OnReady(raw); });
      if (!watch) return Finish(tl::unexpected(std::move(watch).error()));
      candidate->watch = *std::move(watch);
      connecting_.push_back(std::move(candidate));
      stagger_ = owner_.loop_.After(kStagger, [this] { TryNext(); });
      return;
    }
    if (!connecting_.empty()) return;
    Finish(tl::unexpected(proxy_ != nullptr ? InProxysName(last_error_) : last_error_));
  }

  void OnReady(Candidate* candidate) {
    auto status = ConnectResult(candidate->socket.get(), candidate->peer);
    candidate->watch = {};
    if (status && proxy_ != nullptr) return OpenTunnel(candidate);
    if (status) return Finish(Dialed{std::move(candidate->socket), candidate->peer});
    last_error_ = std::move(status).error();
    std::erase_if(connecting_, [&](const auto& other) { return other.get() == candidate; });
    TryNext();
  }

  void OpenTunnel(Candidate* candidate) {
    stagger_ = {};
    const Endpoint peer = candidate->peer;
    UniqueFd socket = std::move(candidate->socket);
    connecting_.clear();
    auto tunnel = ProxyTunnel::Start(
        owner_.loop_, *proxy_, std::move(socket), destination_.host, destination_.port,
        [this, peer](Result<UniqueFd> opened) { OnTunnel(peer, std::move(opened)); });
    if (!tunnel) return Finish(tl::unexpected(std::move(tunnel).error()));
    tunnel_ = *std::move(tunnel);
  }

  void OnTunnel(const Endpoint& peer, Result<UniqueFd> opened) {
    if (!opened) return Finish(tl::unexpected(std::move(opened).error()));
    Finish(Dialed{*std::move(opened), peer});
  }

  void Finish(Result<Dialed> result) {
    auto done = std::move(done_);
    owner_.Forget(id_);  // Destroys this.
    done(std::move(result));
  }

  GuardedDialer& owner_;
  const uint64_t id_;
  const Destination destination_;
  const Transport transport_;
  std::function<void(Result<Dialed>)> done_;
  std::vector<Endpoint> peers_;
  size_t next_ = 0;
  Error last_error_{Code::kUnreachable, "no address"};
  const ParentProxy* proxy_ = nullptr;  // Where the peers are its addresses.
  Pending resolving_;
  Loop::Handle posted_;
  Loop::Handle deadline_;
  Loop::Handle stagger_;
  std::vector<std::unique_ptr<Candidate>> connecting_;
  std::unique_ptr<ProxyTunnel> tunnel_;
};

GuardedDialer::GuardedDialer(Loop& loop, Resolver& resolver, const ParentProxy* parent,
                             std::function<bool(const IpAddress&)> is_own)
    : loop_(loop), resolver_(resolver), parent_(parent), is_own_(std::move(is_own)) {}
GuardedDialer::~GuardedDialer() = default;

Pending GuardedDialer::Dial(const Destination& destination, Transport transport,
                            std::function<void(Result<Dialed>)> done) {
  const uint64_t id = next_id_++;
  auto& attempt = attempts_[id];
  attempt = std::make_unique<Attempt>(*this, id, destination, transport, std::move(done));
  attempt->Start();
  return Pending([this, id] { Forget(id); });
}

void GuardedDialer::Forget(uint64_t id) { attempts_.erase(id); }

}  // namespace sallyport::runtime
