#include "mitm/passthrough.h"

#include <array>
#include <utility>

#include "base/fd_stream.h"
#include "mitm/limits.h"
#include "mitm/prefixed_stream.h"

// Limits: what a guest can make this hold is kMaxHelloBytes until the server is there, and nothing
// of its own afterwards: bytes move only into room that the other side has. A side that is not read
// closes its peer's window.

namespace sallyport::mitm {
namespace {

std::string HostOf(const FlowContext& flow) {
  return ToString(flow.Identity());
}

}  // namespace

Passthrough::Passthrough(FlowContext& flow, std::unique_ptr<Stream> guest, std::string first,
                         Owner& owner)
    : flow_(flow),
      owner_(owner),
      held_(std::move(first)),
      guest_(std::move(guest)),
      began_(flow.gate().loop.now()),
      deadline_(flow.gate().loop, [this] { OnDeadline(); }) {
  flow_.tls.encrypted = true;
  record_ = flow_.Record();
  record_.rule = flow_.flow().verdict.rule();
}

Passthrough::~Passthrough() {
  if (step_ == Step::kRelaying) Write(Reason::kAllowed, "passed through; the sandbox ended");
  if (step_ == Step::kDialing) {
    Write(Reason::kUpstreamUnreachable, "the sandbox ended before the server was connected");
  }
  if (guest_) guest_->SetListener(nullptr);
}

void Passthrough::Start() {
  guest_->SetListener(this);
  deadline_.Set(kGuestHandshakeTimeout);
  switch (hello_.Feed(held_)) {
    case ClientHelloReader::State::kIncomplete:
      return ReadHello();
    case ClientHelloReader::State::kComplete:
      return OnHello();
    case ClientHelloReader::State::kInvalid:
      return Refuse(Alert::kDecodeError, Reason::kClientTls, hello_.failure());
  }
}

void Passthrough::OnStreamReady() {
  if (step_ == Step::kHello) return ReadHello();
}

void Passthrough::ReadHello() {
  std::array<uint8_t, 4096> block;
  while (held_.size() < kMaxHelloBytes) {
    const ReadResult read = guest_->Read(block);
    if (read.kind == ReadResult::Kind::kWouldBlock) return;
    if (read.kind != ReadResult::Kind::kBytes) {
      return Finish(Reason::kClientTls, "the client closed the connection within its ClientHello");
    }
    const std::string_view bytes(reinterpret_cast<const char*>(block.data()), read.bytes);
    held_.append(bytes);
    switch (hello_.Feed(bytes)) {
      case ClientHelloReader::State::kIncomplete:
        break;
      case ClientHelloReader::State::kComplete:
        return OnHello();
      case ClientHelloReader::State::kInvalid:
        return Refuse(Alert::kDecodeError, Reason::kClientTls,
                      "the ClientHello can't be read: " + hello_.failure());
    }
  }
  Refuse(Alert::kDecodeError, Reason::kClientTls, "the ClientHello is longer than 64 KiB");
}

/// The hello is whole: whether the gate may let go of the flow.
void Passthrough::OnHello() {
  const HelloNames& names = hello_.names();
  const std::string host = HostOf(flow_);
  if (!flow_.gate().audit.healthy()) {
    return Refuse(Alert::kAccessDenied, Reason::kAuditUnavailable,
                  "the audit log can't be written");
  }
  if (!flow_.facts().name || !names.has_sni) {
    return Refuse(Alert::kUnrecognizedName, Reason::kHostMismatch,
                  "a flow is passed through by its server name, and this ClientHello has none");
  }
  if (!names.sni || *names.sni != *flow_.facts().name) {
    return Refuse(Alert::kUnrecognizedName, Reason::kHostMismatch,
                  "the ClientHello is for " +
                      (names.sni ? names.sni->text() : "something that is not a host name") +
                      ", but this connection belongs to " + host);
  }
  if (names.encrypted) {
    return Refuse(Alert::kAccessDenied, Reason::kHostMismatch,
                  "the ClientHello has an encrypted_client_hello extension, which may hide another "
                  "name than " +
                      host + "; turn ECH off in the client");
  }
  // The policy's own secrets are held against its rules when it loads; `--secret` is not.
  if (flow_.gate().secrets.Binds(*flow_.facts().name)) {
    return Refuse(Alert::kAccessDenied, Reason::kDeniedByRule,
                  "a secret is bound to " + host +
                      ", so its requests must be seen and can't be passed through");
  }
  Dial();
}

void Passthrough::Dial() {
  auto opened =
      policy::OpenUse(flow_.gate().budgets, flow_.flow().verdict.budget(), flow_.gate().loop.now());
  if (opened.refusal) {
    return Refuse(Alert::kAccessDenied, opened.refusal->reason, opened.refusal->detail);
  }
  spending_ = std::move(opened.spending);
  step_ = Step::kDialing;
  deadline_.Set(kConnectTimeout);
  dialing_ =
      flow_.gate().dialer.Dial(flow_.target().destination, Transport::kTcp,
                               [this](Result<Dialed> dialed) { OnDialed(std::move(dialed)); });
}

void Passthrough::OnDialed(Result<Dialed> dialed) {
  if (!dialed) {
    const Refusal refusal = DialRefusal(dialed.error());
    if (refusal.reason == Reason::kAddressRefused) {
      return Refuse(Alert::kAccessDenied, refusal.reason, refusal.detail);
    }
    return Break(refusal.reason, refusal.detail);
  }
  record_.address = dialed->peer.address;
  auto server = MakeFdStream(flow_.gate().loop, std::move(dialed->socket));
  if (!server) return Break(Reason::kUpstreamUnreachable, server.error().message());
  step_ = Step::kRelaying;
  record_.sent = true;
  deadline_.Clear();  // The relay keeps its own.
  Loop& loop = flow_.gate().loop;
  guest_->SetListener(nullptr);
  auto guest = std::make_unique<PrefixedStream>(loop, std::move(held_), std::move(guest_));
  relay_ = std::make_unique<Relay>(
      loop, std::move(guest), std::move(*server),
      Relay::Patience{kPassthroughIdleTimeout, kPassthroughHalfClosedTimeout}, std::move(spending_),
      *this);
  relay_->Start();
}

void Passthrough::OnRelayOver() {
  switch (relay_->outcome()) {
    case Relay::Outcome::kEnded:
      return Finish(Reason::kAllowed, "passed through");
    case Relay::Outcome::kBroken:
      return Finish(Reason::kAllowed, "passed through; a side broke off");
    case Relay::Outcome::kIdle:
      return Finish(Reason::kAllowed, "passed through; nothing was sent for too long");
    case Relay::Outcome::kSpent: {
      const Refusal spent = *relay_->spent();
      return Finish(spent.reason, "passed through; " + spent.detail);
    }
  }
}

/// Tells the client by a fatal alert; it has not seen a ServerHello, so it goes unencrypted.
void Passthrough::Refuse(Alert alert, Reason reason, const std::string& detail) {
  const char record[] = {0x15, 0x03, 0x03, 0x00, 0x02, 0x02, static_cast<char>(alert)};
  guest_->Write({record, sizeof record});
  guest_->CloseWrite();
  Finish(reason, detail);
}

void Passthrough::Break(Reason reason, const std::string& detail) {
  guest_->Abort();
  Finish(reason, detail);
}

void Passthrough::Write(Reason reason, const std::string& detail) {
  step_ = Step::kOver;
  if (relay_) {
    record_.bytes_up = relay_->bytes_up();
    record_.bytes_down = relay_->bytes_down();
  }
  record_.duration =
      std::chrono::duration_cast<std::chrono::microseconds>(flow_.gate().loop.Time() - began_);
  flow_.Write(std::move(record_), reason, detail);
}

void Passthrough::Finish(Reason reason, const std::string& detail) {
  Write(reason, detail);
  owner_.OnPassthroughOver();
}

void Passthrough::OnDeadline() {
  switch (step_) {
    case Step::kHello:
      return Break(Reason::kClientTls, "the ClientHello took too long");
    case Step::kDialing:
      return Break(Reason::kUpstreamTimeout, "the server could not be connected to in time");
    case Step::kRelaying:
    case Step::kOver:
      return;
  }
}

}  // namespace sallyport::mitm
