#pragma once

#include <memory>
#include <string>

#include "mitm/deadline.h"
#include "mitm/flow_context.h"
#include "mitm/guest_tls.h"
#include "mitm/http1/session.h"
#include "mitm/http2/session.h"
#include "mitm/passthrough.h"
#include "mitm/upstream_pool.h"

namespace sallyport::mitm {

/// One guest connection, from its first byte:
///
///     Start -> Sniff -> (Handshake ->) Serve -> over
///                    -> PassThrough -> over
///
/// HTTP/2 is spoken where ALPN chose it, and nowhere else: not by prior knowledge.
/// The first byte tells TLS from plain HTTP; anything else ends the flow.
///
/// A guest that offers HTTP/2 and HTTP/1.1 is given what its upstream speaks: as remembered, or
/// else its handshake is held while the upstream is connected to and verified, by the connection
/// that the first request then uses. If that fails, the guest is offered both, and reads why.
class GuestConnection final : public Stream::Listener,
                              public http1::Session::Owner,
                              public http2::Session::Owner,
                              public Passthrough::Owner {
 public:
  class Owner {
   public:
    /// CONNECTION is over; destroys it.
    virtual void OnConnectionOver(GuestConnection& connection) = 0;

   protected:
    ~Owner() = default;
  };

  GuestConnection(Gate& gate, GuestTls& tls, std::unique_ptr<Stream> guest, HttpFlow flow,
                  Owner& owner);
  ~GuestConnection();

  /// May destroy this.
  void Start();

 private:
  enum class Step { kSniffing, kHandshake, kServing };

  void OnStreamReady() override;
  void OnSessionOver() override;
  void OnPassthroughOver() override;
  void OnDeadline();
  void Sniff();
  void PassThrough(std::string first);
  void StartTls(std::string first);
  void Handshake();
  void OnHelloHeld();
  bool SurelyRefuses();
  void OnUpstream(UpstreamPool::Connected connected);
  void AnswerHello(Protocols offer);
  void Serve(std::string_view already_read);
  void RefuseBytes(const char* detail);
  void RefuseTls(const TlsFailure& failure);

  GuestTls& tls_;
  Owner& owner_;
  FlowContext flow_;
  GuestHello hello_;
  Step step_ = Step::kSniffing;
  Deadline deadline_;
  std::unique_ptr<Stream> stream_;
  TlsStream* tls_stream_ = nullptr;  // stream_, while its handshake is under way.
  bool asked_ = false;
  Pending asking_;  // The upstream, for its protocol.
  std::unique_ptr<http1::Session> session_;
  std::unique_ptr<http2::Session> http2_session_;  // Instead, if that was agreed on.
  std::unique_ptr<Passthrough> passthrough_;       // Instead, where the flow is not intercepted.
};

}  // namespace sallyport::mitm
