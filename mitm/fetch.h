#pragma once

#include <functional>
#include <optional>
#include <string>

#include "mitm/deadline.h"
#include "mitm/exchange.h"
#include "mitm/flow_context.h"
#include "mitm/message.h"
#include "policy/wait.h"

namespace sallyport::mitm {

/// A request that a callback of the policy makes (`fetch`): an exchange like a guest's, with the same
/// address guard, verification, substitution, scrubbing and audit record, but granted by being made, and
/// with this as its guest. HTTP/1.1.
class Fetch final : private GuestSide {
 public:
  /// Begins, later in this turn. OVER is called once, from the loop; it may destroy this.
  Fetch(Gate& gate, const policy::FetchWait& wanted, const policy::Facts& cause,
        std::function<void()> over);

  /// When it is over.
  policy::Fetched Take() { return std::move(result_); }

 private:
  static HttpFlow FlowFor(const policy::FetchWait& wanted, const policy::Facts& cause);
  static Request RequestFor(const policy::FetchWait& wanted);
  void Pump();
  void End(std::string error);

  MessageEvent ReadBody(size_t max) override;
  const Headers& trailers() const override { return no_trailers_; }
  const ProtocolError& error() const override { return no_error_; }
  size_t Room() override;
  void WriteInterim(const ResponseHead&) override {}
  void WriteHead(const ResponseHead& head, BodyLength body) override;
  void WriteBody(std::string_view piece) override { result_.body += piece; }
  void WriteEnd(const Headers&) override {}
  void Break() override {}
  void Resume() override;

  Gate& gate_;
  const std::string body_;
  size_t sent_ = 0;
  const std::function<void()> over_;
  const Headers no_trailers_;
  const ProtocolError no_error_;
  policy::Fetched result_;
  FlowContext flow_;
  Deadline deadline_;
  std::optional<Exchange> exchange_;
  Loop::Handle timer_;
  Loop::Handle again_;
};

}  // namespace sallyport::mitm
