#include "mitm/guest_connection.h"

#include <openssl/ssl.h>

#include <utility>

#include "mitm/distrust_log.h"
#include "mitm/limits.h"

namespace sallyport::mitm {
namespace {

constexpr uint8_t kTlsHandshakeRecord = 0x16;

/// What any method begins with, or an empty line before it (RFC 9112, 2.2).
bool BeginsRequest(uint8_t byte) {
  return byte == '\r' || (byte >= 'A' && byte <= 'Z');
}

}  // namespace

GuestConnection::GuestConnection(Gate& gate, GuestTls& tls, std::unique_ptr<Stream> guest,
                                 HttpFlow flow, Owner& owner)
    : tls_(tls),
      owner_(owner),
      flow_(gate, std::move(flow)),
      deadline_(gate.loop, [this] { OnDeadline(); }),
      stream_(std::move(guest)) {
  hello_.name = flow_.facts().name;
  hello_.address = flow_.facts().destination.address;
  hello_.port = flow_.facts().destination.port;
  hello_.offer_h2 = hello_.hold = true;
}

GuestConnection::~GuestConnection() {
  session_.reset();
  passthrough_.reset();
  http2_session_.reset();
  if (stream_) stream_->SetListener(nullptr);
}

void GuestConnection::Start() {
  stream_->SetListener(this);
  deadline_.Set(kFirstByteTimeout);
  Sniff();
}

void GuestConnection::OnStreamReady() {
  switch (step_) {
    case Step::kSniffing:
      return Sniff();
    case Step::kHandshake:
      return Handshake();
    case Step::kServing:  // The session listens, or the passthrough.
      return;
  }
}

void GuestConnection::Sniff() {
  uint8_t byte = 0;
  switch (stream_->Read({&byte, 1}).kind) {
    case ReadResult::Kind::kWouldBlock:
      return;
    case ReadResult::Kind::kEnd:
    case ReadResult::Kind::kBroken:
      return owner_.OnConnectionOver(*this);
    case ReadResult::Kind::kBytes:
      break;
  }
  const std::string first(1, static_cast<char>(byte));
  if (byte == kTlsHandshakeRecord) {
    return flow_.flow().verdict.passthrough ? PassThrough(first) : StartTls(first);
  }
  if (BeginsRequest(byte)) return Serve(first);
  RefuseBytes("the first byte is neither of TLS nor of an HTTP request");
}

void GuestConnection::PassThrough(std::string first) {
  step_ = Step::kServing;
  deadline_.Clear();
  passthrough_ = std::make_unique<Passthrough>(flow_, std::move(stream_), std::move(first), *this);
  passthrough_->Start();
}

void GuestConnection::StartTls(std::string first) {
  flow_.tls.encrypted = true;
  auto stream = tls_.Accept(flow_.gate().loop, std::move(stream_), std::move(first), hello_);
  tls_stream_ = stream.get();
  stream_ = std::move(stream);
  stream_->SetListener(this);
  step_ = Step::kHandshake;
  deadline_.Set(kGuestHandshakeTimeout);
  Handshake();
}

void GuestConnection::Handshake() {
  switch (tls_stream_->Handshake()) {
    case TlsStream::Phase::kHandshake:
      if (hello_.held) OnHelloHeld();
      return;
    case TlsStream::Phase::kFailed:
      return RefuseTls(tls_stream_->failure());
    case TlsStream::Phase::kOpen:
      break;
  }
  flow_.tls.sni = hello_.sni;
  flow_.tls.alpn = AlpnOf(tls_stream_->ssl());
  flow_.tls.version = SSL_get_version(tls_stream_->ssl());
  flow_.sni_mismatch = hello_.mismatch;
  Serve({});
}

/// The guest waits for what its upstream speaks. Called each time that its stream wakes us.
void GuestConnection::OnHelloHeld() {
  if (tls_stream_->PeerGone()) {
    flow_.Write(flow_.Record(), Reason::kClientTls,
                "the client left before its TLS handshake was answered");
    return owner_.OnConnectionOver(*this);
  }
  if (std::exchange(asked_, true)) return;
  // Who will only be refused causes no connection.
  if (SurelyRefuses()) return AnswerHello(Protocols::kAny);
  UpstreamPool& pool = flow_.gate().pool;
  const std::string& key = flow_.target_key();
  if (const auto protocol = pool.Learnt(key)) {
    return AnswerHello(*protocol == Protocol::kHttp2 ? Protocols::kAny : Protocols::kHttp1);
  }
  deadline_.Set(kProtocolTimeout);
  asking_ = pool.Connect(flow_.target(), key, Protocols::kAny,
                         [this](UpstreamPool::Connected c) { OnUpstream(std::move(c)); });
}

/// Whether every request of this connection is refused before the policy is asked.
bool GuestConnection::SurelyRefuses() {
  return flow_.flow().refusal || !flow_.flow().verdict.http || hello_.mismatch ||
         !flow_.gate().audit.healthy();
}

void GuestConnection::OnUpstream(UpstreamPool::Connected connected) {
  const bool http1 = connected.connection && connected.connection->shared == nullptr;
  if (http1) flow_.gate().pool.PutBack(std::move(connected.connection));
  // It may come too late for this, and still in time for the first request.
  if (hello_.held) AnswerHello(http1 ? Protocols::kHttp1 : Protocols::kAny);
}

void GuestConnection::AnswerHello(Protocols offer) {
  hello_.offer_h2 = offer == Protocols::kAny;
  hello_.hold = hello_.held = false;
  deadline_.Set(kGuestHandshakeTimeout);
  Handshake();  // May destroy this.
}

void GuestConnection::Serve(std::string_view already_read) {
  step_ = Step::kServing;
  deadline_.Clear();
  if (flow_.tls.alpn == "h2") {
    http2_session_ = std::make_unique<http2::Session>(flow_, *stream_, already_read, *this);
    return http2_session_->Run();
  }
  session_ = std::make_unique<http1::Session>(flow_, *stream_, already_read, *this);
  session_->Run();
}

void GuestConnection::OnSessionOver() {
  // Some clients finish their handshake before they say what they don't like in it.
  if (tls_stream_ != nullptr && tls_stream_->failure().kind == TlsFailure::Kind::kAlert) {
    return RefuseTls(tls_stream_->failure());
  }
  owner_.OnConnectionOver(*this);
}

void GuestConnection::OnPassthroughOver() {
  owner_.OnConnectionOver(*this);
}

/// Bytes that are not HTTP end the flow, with a reset: there is nobody to read an answer.
void GuestConnection::RefuseBytes(const char* detail) {
  flow_.Write(flow_.Record(), Reason::kNotHttp, detail);
  stream_->Abort();
  owner_.OnConnectionOver(*this);
}

void GuestConnection::RefuseTls(const TlsFailure& failure) {
  if (hello_.refused.empty() && failure.refuses_certificate()) {
    flow_.gate().distrust.Note(flow_, hello_.sni.empty() ? ToString(flow_.Identity()) : hello_.sni,
                               failure.detail);
    return owner_.OnConnectionOver(*this);
  }
  std::string detail;
  if (!hello_.refused.empty()) {
    detail = hello_.refused;
  } else if (failure.kind == TlsFailure::Kind::kClosed && hello_.seen) {
    detail =
        "the client closed the connection during the handshake; most often it does not trust "
        "the sandbox's CA";
  } else {
    detail = (step_ == Step::kServing ? "the client ended TLS: " : "the TLS handshake failed: ") +
             failure.detail;
  }
  flow_.Write(flow_.Record(), Reason::kClientTls, detail);
  owner_.OnConnectionOver(*this);
}

void GuestConnection::OnDeadline() {
  if (step_ == Step::kSniffing) return RefuseBytes("the client sent nothing");
  if (hello_.held) return AnswerHello(Protocols::kAny);  // Its first request goes on waiting.
  flow_.Write(flow_.Record(), Reason::kClientTls, "the TLS handshake took too long");
  stream_->Abort();
  owner_.OnConnectionOver(*this);
}

}  // namespace sallyport::mitm
