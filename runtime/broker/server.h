#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "base/loop.h"
#include "base/pending.h"
#include "base/unique_fd.h"
#include "runtime/broker/approval_desk.h"
#include "runtime/broker/messages.h"
#include "runtime/broker/requests.h"
#include "runtime/broker/telemetry.h"
#include "runtime/broker/value_source.h"

namespace sallyport::runtime {

/// The broker's work once it is confined: answers the warden's questions (messages.h) until it is
/// gone.
class Server {
 public:
  struct Parts {
    /// In the order of BrokerLaunch.
    std::vector<std::unique_ptr<ValueSource>> sources;
    /// Empty: a question ends the broker.
    std::vector<ApprovalDesk::Channel> channels;
    /// Null: so does telemetry. Outlives the server.
    Telemetry* telemetry = nullptr;
  };
  /// SOCKET is a blocking stream to the warden.
  static Result<std::unique_ptr<Server>> Create(Loop& loop, UniqueFd socket, Parts parts);

  /// kNone while it works; then what the process exits with.
  std::optional<int> exit_status() const { return exit_status_; }

 private:
  Server(UniqueFd socket, Parts parts);
  void OnReadable();
  void OnRequest(BrokerRequest request);
  void OnValueRequest(uint16_t secret);
  void OnValue(uint16_t secret, Result<Value> value);
  void OnFlush(std::chrono::milliseconds limit);
  void Tell(const BrokerAnswer& answer);

  UniqueFd socket_;
  BrokerRequestReader reader_;
  std::vector<std::unique_ptr<ValueSource>> sources_;
  std::optional<ApprovalDesk> desk_;
  Telemetry* const telemetry_;
  std::vector<Pending> fetching_;  // By secret, as `busy_`.
  std::vector<bool> busy_;
  std::optional<int> exit_status_;
  Loop::Handle watch_;
};

/// Sends ANSWER on the blocking SOCKET. False when the other end is gone.
bool SendAnswer(int socket, const BrokerAnswer& answer);

}  // namespace sallyport::runtime
