#pragma once

#include <memory>
#include <string>

#include "base/audit.h"
#include "base/stream.h"
#include "mitm/client_hello.h"
#include "mitm/deadline.h"
#include "mitm/flow_context.h"
#include "mitm/relay.h"

namespace sallyport::mitm {

/// A TLS connection that the gate relays without reading it (a rule with tls = "passthrough"):
///
///     Start -> ReadHello -> Dial -> OnDialed -> (Relay) -> OnRelayOver -> Finish
///
/// It is relayed only once its whole ClientHello was read, names the host that the flow belongs to,
/// and hides no other name; not a byte of it is changed. Otherwise the client reads a TLS alert
/// (unrecognized_name or access_denied) and nothing is dialled. Once the hello is whole, exactly
/// one audit record is written, also when this is destroyed in the middle.
class Passthrough final : private Stream::Listener, public Relay::Owner {
 public:
  class Owner {
   public:
    /// It is over; destroys it.
    virtual void OnPassthroughOver() = 0;

   protected:
    ~Owner() = default;
  };

  /// FIRST was read from GUEST before. FLOW and OWNER outlive it.
  Passthrough(FlowContext& flow, std::unique_ptr<Stream> guest, std::string first, Owner& owner);
  ~Passthrough();

  /// May destroy this.
  void Start();

 private:
  enum class Step { kHello, kDialing, kRelaying, kOver };
  /// The two descriptions of an alert that a refusal is told by (RFC 8446, section 6.2).
  enum class Alert : unsigned char {
    kDecodeError = 50,
    kAccessDenied = 49,
    kUnrecognizedName = 112
  };

  void OnStreamReady() override;
  void OnDeadline();
  void ReadHello();
  void OnHello();
  void Dial();
  void OnDialed(Result<Dialed> dialed);
  void OnRelayOver() override;
  void Refuse(Alert alert, Reason reason, const std::string& detail);
  void Break(Reason reason, const std::string& detail);
  void Write(Reason reason, const std::string& detail);
  void Finish(Reason reason, const std::string& detail);

  FlowContext& flow_;
  Owner& owner_;
  Step step_ = Step::kHello;
  ClientHelloReader hello_;
  std::string held_;  // What was read before the relay; at most kMaxHelloBytes.
  std::unique_ptr<Stream> guest_;
  Pending dialing_;
  policy::Spending spending_;  // Until the relay has it.
  std::unique_ptr<Relay> relay_;
  AuditRecord record_;
  const Clock::time_point began_;
  Deadline deadline_;
};

}  // namespace sallyport::mitm
