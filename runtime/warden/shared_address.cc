// A connection's way, as steps:
//
//     Serve -> OnStreamReady … -> Judge -> (Await) -> Hand
//
// What was read goes to the interceptor before the rest. At most kMaxConnections are read at a
// time, each for kDeadline and up to what one ClientHello may have: 32 MiB in all.

#include "runtime/warden/shared_address.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "mitm/first_name.h"
#include "mitm/prefixed_stream.h"
#include "runtime/warden/flow_answers.h"

namespace sallyport::runtime {

using namespace std::chrono_literals;

namespace {

constexpr size_t kMaxConnections = 512;
constexpr auto kDeadline = 10s;

}  // namespace

class SharedAddress::Connection final : public Stream::Listener {
 public:
  Connection(SharedAddress& owner, uint64_t id, std::unique_ptr<Stream> guest, policy::Facts facts,
             std::vector<HostName> names)
      : owner_(owner),
        id_(id),
        guest_(std::move(guest)),
        facts_(std::move(facts)),
        names_(std::move(names)) {
    guest_->SetListener(this);
    deadline_ = owner_.services_.loop.After(kDeadline, [this] { Judge(); });
  }

 private:
  void OnStreamReady() override {
    std::array<uint8_t, 4096> piece;
    for (;;) {
      const ReadResult got = guest_->Read(piece);
      if (got.kind == ReadResult::Kind::kWouldBlock) return;
      if (got.kind == ReadResult::Kind::kBroken) return Forget();
      if (got.kind == ReadResult::Kind::kEnd) return Judge();
      const std::string_view bytes(reinterpret_cast<const char*>(piece.data()), got.bytes);
      read_ += bytes;
      if (first_.Feed(bytes)) return Judge();
    }
  }

  void Judge() {
    deadline_ = {};
    guest_->SetListener(nullptr);
    const bool known =
        first_.name() && std::find(names_.begin(), names_.end(), *first_.name()) != names_.end();
    facts_.name = known ? *first_.name() : names_.front();
    generation_ = owner_.services_.engine.generation();
    Act(owner_.services_.engine.DecideFlow(facts_));
  }

  void Await(std::shared_ptr<policy::SuspendedFlow> suspended) {
    waiting_ = owner_.services_.waits.Begin(
        suspended->wait(), {.facts = facts_}, [this, suspended](policy::WaitResult result) {
          // Reloaded meanwhile: the question was another policy's.
          if (owner_.services_.engine.generation() != generation_) return Judge();
          Act(suspended->Resume(std::move(result)));
        });
  }

  void Act(policy::FlowVerdict verdict) {
    switch (verdict.action) {
      case policy::FlowVerdict::Action::kWait:
        return Await(std::move(verdict.suspended));
      case policy::FlowVerdict::Action::kDeny: {
        Refusal refusal = verdict.Explain(facts_);
        return Hand(
            {.facts = facts_, .verdict = std::move(verdict), .refusal = std::move(refusal)});
      }
      case policy::FlowVerdict::Action::kRaw:
        return Hand({.facts = facts_, .verdict = {}, .refusal = SharedByNames(facts_, names_)});
      case policy::FlowVerdict::Action::kHttp:
        owner_.granted_(facts_);
        return Hand({.facts = facts_, .verdict = std::move(verdict), .refusal = {}});
    }
  }

  void Hand(mitm::HttpFlow flow) {
    auto guest = std::make_unique<mitm::PrefixedStream>(owner_.services_.loop, std::move(read_),
                                                        std::move(guest_));
    auto& interceptor = owner_.services_.interceptor;
    Forget();  // Destroys this.
    interceptor.Serve(std::move(guest), std::move(flow));
  }

  void Forget() { owner_.connections_.erase(id_); }

  SharedAddress& owner_;
  const uint64_t id_;
  std::unique_ptr<Stream> guest_;
  policy::Facts facts_;
  const std::vector<HostName> names_;
  mitm::FirstName first_;
  std::string read_;
  uint64_t generation_ = 0;
  Loop::Handle deadline_;
  Pending waiting_;
};

SharedAddress::SharedAddress(const Services& services,
                             std::function<void(const policy::Facts&)> granted)
    : services_(services), granted_(std::move(granted)) {}
SharedAddress::~SharedAddress() = default;

void SharedAddress::Serve(std::unique_ptr<Stream> guest, policy::Facts facts,
                          std::vector<HostName> names) {
  if (connections_.size() >= kMaxConnections) return guest->Abort();
  const uint64_t id = next_id_++;
  connections_.emplace(id, std::make_unique<Connection>(*this, id, std::move(guest),
                                                        std::move(facts), std::move(names)));
}

}  // namespace sallyport::runtime
