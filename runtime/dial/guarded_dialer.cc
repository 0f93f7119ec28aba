// Dialling, as steps; every failure leaves through Finish():
//
//     Start -> OnAddresses -> TryNext -> OnReady -> Finish
//                               ^  |
//                               +--+ kStagger later, or when one failed
//
// Limits: kMaxAddresses of a name are tried; the whole takes at most kDeadline. A Pending that is
// destroyed destroys its attempt, and with it every socket.

#include "runtime/dial/guarded_dialer.h"

#include <sys/epoll.h>

#include <utility>

#include "runtime/dial/outward.h"

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

Error RefusedAddresses(const std::string& host, const std::vector<IpAddress>& refused) {
  std::string text = host + " has only addresses that are refused:";
  for (const auto& address : refused) {
    text += ' ';
    text += address.ToString();
    text += " (";
    text += ToString(Classify(address));
    text += ')';
  }
  return Error(Code::kAddressRefused, std::move(text));
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
      Finish(Fail(Code::kTimeout, ToString(destination_.host) + " did not answer within 10 s"));
    });
    if (const auto* name = std::get_if<HostName>(&destination_.host)) {
      resolving_ = owner_.resolver_.Resolve(*name, [this](Result<ResolvedName> resolved) {
        if (!resolved) return Finish(tl::unexpected(std::move(resolved).error()));
        OnAddresses(resolved->addresses);
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
    std::vector<IpAddress> refused;
    for (const auto& address : addresses) {
      if (!Admits(destination_, address)) {
        refused.push_back(address);
      } else if (peers_.size() < kMaxAddresses) {
        peers_.push_back({address, destination_.port});
      }
    }
    if (peers_.empty()) {
      return Finish(tl::unexpected(RefusedAddresses(ToString(destination_.host), refused)));
    }
    TryNext();
  }

  void TryNext() {
    while (next_ < peers_.size()) {
      const Endpoint peer = peers_[next_++];
      auto socket = StartConnect(peer, transport_);
      if (!socket) {
        last_error_ = std::move(socket).error();
        continue;
      }
      if (transport_ == Transport::kUdp) return Finish(Dialed{*std::move(socket), peer});
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
    if (connecting_.empty()) Finish(tl::unexpected(last_error_));
  }

  void OnReady(Candidate* candidate) {
    auto status = ConnectResult(candidate->socket.get(), candidate->peer);
    candidate->watch = {};
    if (status) return Finish(Dialed{std::move(candidate->socket), candidate->peer});
    last_error_ = std::move(status).error();
    std::erase_if(connecting_, [&](const auto& other) { return other.get() == candidate; });
    TryNext();
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
  Pending resolving_;
  Loop::Handle posted_;
  Loop::Handle deadline_;
  Loop::Handle stagger_;
  std::vector<std::unique_ptr<Candidate>> connecting_;
};

GuardedDialer::GuardedDialer(Loop& loop, Resolver& resolver) : loop_(loop), resolver_(resolver) {}
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
