#pragma once

#include <memory>
#include <string>

#include "mitm/deadline.h"
#include "mitm/flow_context.h"
#include "mitm/guest_tls.h"
#include "mitm/http1/session.h"
#include "mitm/passthrough.h"

namespace sallyport::mitm {

/// One guest connection, from its first byte:
///
///     Start -> Sniff -> (Handshake ->) Serve -> over
///                    -> PassThrough -> over
///
/// The first byte tells TLS from plain HTTP; anything else ends the flow.
class GuestConnection final : public Stream::Listener,
                              public http1::Session::Owner,
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
  std::unique_ptr<http1::Session> session_;
  std::unique_ptr<Passthrough> passthrough_;
};

}  // namespace sallyport::mitm
