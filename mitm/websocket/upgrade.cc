#include "mitm/websocket/upgrade.h"

#include <openssl/rand.h>

#include <algorithm>
#include <utility>

namespace sallyport::mitm::websocket {
namespace {

void AddNew(const std::vector<std::string>& from, std::vector<std::string>& to) {
  for (const std::string& name : from) {
    if (std::find(to.begin(), to.end(), name) == to.end()) to.push_back(name);
  }
}

RequestHead WithType(RequestHead head, const char* type) {
  head.headers.Remove("content-type");
  if (type != nullptr) head.headers.Add("content-type", type);
  return head;
}

Mask MakeMask() {
  Mask mask;
  RAND_bytes(mask.data(), mask.size());
  return mask;
}

}  // namespace

/// One message's filter, that tells its upgrade what it met.
class Upgrade::Recording final : public ByteFilter {
 public:
  Recording(std::unique_ptr<secrets::BodyFilter> filter, secrets::Examination& found)
      : filter_(std::move(filter)), found_(found) {}

  Status Feed(std::string_view input, std::string& out) override {
    return Told(filter_->Feed(input, out));
  }
  Status Finish(std::string& out) override { return Told(filter_->Finish(out)); }

 private:
  Status Told(Status status) {
    const secrets::Examination& met = filter_->found();
    AddNew(met.used, found_.used);
    AddNew(met.inert, found_.inert);
    if (met.refusal) found_.refusal = met.refusal;
    if (met.terminate) found_.terminate = true;
    return status;
  }

  const std::unique_ptr<secrets::BodyFilter> filter_;
  secrets::Examination& found_;
};

Upgrade::Upgrade(const secrets::Store& store, secrets::RequestTarget target,
                 const RequestHead& head, std::string guest_key)
    : store_(store),
      target_(std::move(target)),
      text_(WithType(head, "text/plain")),
      binary_(WithType(head, nullptr)),
      guest_key_(std::move(guest_key)),
      own_key_(MakeKey()),
      looks_into_(store.scrubs() || Substituter(Opcode::kText) != nullptr ||
                  Substituter(Opcode::kBinary) != nullptr) {}

void Upgrade::Prepare(RequestHead& head) const {
  PrepareRequest(head, own_key_, looks_into_ ? Extensions::kNone : Extensions::kAsOffered);
}

std::optional<std::string> Upgrade::Accept(const RequestHead& request,
                                           ResponseHead& response) const {
  if (auto why = CheckAnswer(response, request, own_key_)) return why;
  (void)store_.Scrub(response.headers);
  response.reason = "Switching Protocols";
  response.headers.Set("Sec-WebSocket-Accept", AcceptOf(guest_key_));
  return std::nullopt;
}

std::unique_ptr<secrets::BodyFilter> Upgrade::Substituter(Opcode opcode) const {
  if (IsControl(opcode)) return nullptr;
  return store_.BodySubstituter(target_, opcode == Opcode::kText ? text_ : binary_);
}

std::unique_ptr<ByteFilter> Upgrade::UpFilter(Opcode opcode) {
  auto filter = Substituter(opcode);
  if (!filter) return nullptr;
  return std::make_unique<Recording>(std::move(filter), found_);
}

/// Binary messages are most often of a format with lengths in it.
std::unique_ptr<ByteFilter> Upgrade::DownFilter(Opcode opcode) const {
  using Lengths = secrets::AnswerFilter::Lengths;
  return store_.Scrubber(opcode == Opcode::kBinary ? Lengths::kKept : Lengths::kMayChange);
}

std::unique_ptr<Relay> Upgrade::MakeRelay(ByteChannel guest, ByteChannel server) {
  if (!looks_into_) return std::make_unique<Relay>(guest, server, nullptr, nullptr);
  return std::make_unique<Relay>(
      guest, server,
      std::make_unique<MessagePipe>(
          Sender::kClient, [this](Opcode opcode) { return UpFilter(opcode); }, MakeMask),
      std::make_unique<MessagePipe>(
          Sender::kServer, [this](Opcode opcode) { return DownFilter(opcode); }, MakeMask));
}

}  // namespace sallyport::mitm::websocket
