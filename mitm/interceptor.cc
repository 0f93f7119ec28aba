#include "mitm/interceptor.h"

#include <iterator>
#include <list>
#include <map>
#include <unordered_map>
#include <utility>

#include "mitm/authority.h"
#include "mitm/distrust_log.h"
#include "mitm/fetch.h"
#include "mitm/flow_context.h"
#include "mitm/guest_connection.h"
#include "mitm/guest_tls.h"
#include "mitm/limits.h"
#include "mitm/upstream_pool.h"
#include "mitm/upstream_tls.h"
#include "mitm/upstream_trust.h"

namespace sallyport::mitm {
namespace {

class InterceptorImpl final : public Interceptor, public GuestConnection::Owner {
 public:
  InterceptorImpl(const Services& services, std::unique_ptr<Authority> authority,
                  std::unique_ptr<GuestTls> guest_tls, std::unique_ptr<UpstreamTls> upstream_tls)
      : authority_(std::move(authority)),
        guest_tls_(std::move(guest_tls)),
        upstream_tls_(std::move(upstream_tls)),
        terminate_(services.terminate),
        pool_(services.loop, services.dialer, *upstream_tls_),
        distrust_(services.audit),
        gate_{.loop = services.loop,
              .engine = services.engine,
              .secrets = services.secrets,
              .audit = services.audit,
              .pool = pool_,
              .dialer = services.dialer,
              .distrust = distrust_,
              .terminate = [this](std::string why) { Terminate(std::move(why)); },
              .waits = services.waits,
              .renew = services.renew,
              .lifetime = services.lifetime,
              .budgets = services.budgets} {}

  const TrustAnchor& trust_anchor() const override { return authority_->trust_anchor(); }
  size_t connections() const override { return connections_.size(); }

  void Serve(std::unique_ptr<Stream> guest, HttpFlow flow) override {
    if (connections_.size() >= kMaxConnections) {
      FlowContext context(gate_, std::move(flow));
      context.Write(context.Record(), Reason::kLimit, "too many HTTP connections are open");
      guest->Abort();
      return;
    }
    auto& connection = connections_.emplace_back(std::make_unique<GuestConnection>(
        gate_, *guest_tls_, std::move(guest), std::move(flow), *this));
    places_.emplace(connection.get(), std::prev(connections_.end()));
    connection->Start();  // May end it.
  }

  Pending Fetch(const policy::FetchWait& wanted, const policy::Facts& cause,
                std::function<void(policy::Fetched)> done) override {
    const uint64_t id = next_fetch_++;
    FetchUnderWay& fetch = fetches_[id];
    fetch.done = std::move(done);
    if (fetches_.size() > kMaxFetches) {
      fetch.refused = gate_.loop.Post([this, id] {
        policy::Fetched none;
        none.error = "too many fetches are under way";
        fetches_.extract(id).mapped().done(std::move(none));
      });
    } else {
      fetch.made = std::make_unique<mitm::Fetch>(gate_, wanted, cause, [this, id] {
        auto ended = fetches_.extract(id);
        ended.mapped().done(ended.mapped().made->Take());
      });
    }
    return Pending([this, id] { fetches_.erase(id); });
  }

 private:
  struct FetchUnderWay {
    std::function<void(policy::Fetched)> done;
    std::unique_ptr<mitm::Fetch> made;
    Loop::Handle refused;
  };

  void OnConnectionOver(GuestConnection& connection) override {
    const auto place = places_.find(&connection);
    const auto entry = place->second;
    places_.erase(place);
    connections_.erase(entry);
  }

  // From the loop, once: whoever ends the sandbox may destroy all of this.
  void Terminate(std::string why) {
    if (terminating_) return;
    terminating_ = gate_.loop.Post([this, why = std::move(why)] {
      const auto terminate = terminate_;
      if (terminate) terminate(why);
    });
  }

  using Connections = std::list<std::unique_ptr<GuestConnection>>;

  // In the order in which they use each other; connections go first.
  std::unique_ptr<Authority> authority_;
  std::unique_ptr<GuestTls> guest_tls_;
  std::unique_ptr<UpstreamTls> upstream_tls_;
  const std::function<void(std::string)> terminate_;
  UpstreamPool pool_;
  DistrustLog distrust_;
  Gate gate_;
  uint64_t next_fetch_ = 1;
  std::map<uint64_t, FetchUnderWay> fetches_;
  Connections connections_;
  std::unordered_map<const GuestConnection*, Connections::iterator> places_;
  Loop::Handle terminating_;
};

}  // namespace

Result<std::unique_ptr<Interceptor>> Interceptor::Create(const Services& services,
                                                         const Options& options) {
  auto authority = Authority::Create();
  if (!authority) return tl::unexpected(std::move(authority).error());
  auto guest_tls = GuestTls::Create(**authority);
  if (!guest_tls) return tl::unexpected(std::move(guest_tls).error());
  auto trusted = LoadTrustedRoots(options.extra_roots);
  if (!trusted) return tl::unexpected(std::move(trusted).error());
  auto servers = ServerTable::Create(options.servers, trusted->get());
  if (!servers) return tl::unexpected(std::move(servers).error());
  auto upstream_tls =
      UpstreamTls::Create(std::move(*trusted), options.system_roots, std::move(*servers));
  if (!upstream_tls) return tl::unexpected(std::move(upstream_tls).error());
  return std::unique_ptr<Interceptor>(std::make_unique<InterceptorImpl>(
      services, std::move(*authority), std::move(*guest_tls), std::move(*upstream_tls)));
}

}  // namespace sallyport::mitm
