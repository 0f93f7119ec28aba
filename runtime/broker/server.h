#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "base/loop.h"
#include "base/pending.h"
#include "base/unique_fd.h"
#include "runtime/broker/messages.h"
#include "runtime/broker/value_source.h"

namespace sallyport::runtime {

/// The broker's work once it is confined: answers the warden's questions (messages.h) until it is
/// gone.
class Server {
 public:
  /// SOCKET is a blocking stream to the warden. SOURCES stand in the order of BrokerLaunch.
  static Result<std::unique_ptr<Server>> Create(Loop& loop, UniqueFd socket,
                                                std::vector<std::unique_ptr<ValueSource>> sources);

  /// kNone while it works; then what the process exits with.
  std::optional<int> exit_status() const { return exit_status_; }

 private:
  Server(UniqueFd socket, std::vector<std::unique_ptr<ValueSource>> sources);
  void OnReadable();
  void OnQuestion(uint16_t secret);
  void OnValue(uint16_t secret, Result<Value> value);

  UniqueFd socket_;
  std::vector<std::unique_ptr<ValueSource>> sources_;
  std::vector<Pending> fetching_;  // By secret, as `busy_`.
  std::vector<bool> busy_;
  std::optional<unsigned char> half_;  // The first byte of a question.
  std::optional<int> exit_status_;
  Loop::Handle watch_;
};

/// Sends ANSWER on the blocking SOCKET. False when the other end is gone.
bool SendAnswer(int socket, const BrokerAnswer& answer);

}  // namespace sallyport::runtime
