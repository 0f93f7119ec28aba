#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "runtime/broker/messages.h"
#include "runtime/broker/requests.h"

namespace sallyport::runtime {

/// Descriptors a broker is born with, besides 2 (stderr).
enum BrokerFd : int {
  kBrokerSocketFd = 3,  ///< Byte stream to the warden (messages.h).
  kBrokerLaunchFd = 4,  ///< A memory file that holds a BrokerLaunch.
  kBrokerValuesFd = 5,  ///< The pipe with the user's variables (sources.h).
};

/// The warden's end of its broker: the program that holds the sources of secrets, so that the
/// warden, which reads hostile bytes, never opens one. It lives as long as its warden, and the
/// warden ends with it.
class Broker {
 public:
  /// Starts PROGRAM as a broker. VALUES brings it the variables of the user's environment that its
  /// sources need; nobody else reads them. Call while single-threaded and not yet confined.
  static Result<Broker> Start(const std::string& program, const BrokerLaunch& launch,
                              UniqueFd values);

  Broker(Broker&&) noexcept = default;
  Broker& operator=(Broker&&) noexcept = default;

  /// Asks for the value of SECRET, its place in the launch. Not again before it was answered. That the
  /// broker has ended, and why, is told by Await() and TakeAnswers().
  Status Ask(uint16_t secret);
  /// Sends REQUEST, never waiting: what the broker does not take yet is kept, see unsent().
  Status Send(const BrokerRequest& request);
  /// Sends what was kept, as far as the broker takes it; call it when watch_fd() can be written.
  Status SendRest();
  /// Sends REQUEST, and what was kept before it; waits for the broker to take it until DEADLINE.
  Status SendAll(const BrokerRequest& request, Clock::time_point deadline);
  /// Bytes that are kept. Whoever sends what nobody waits for looks here before, and drops it.
  size_t unsent() const { return outbox_.size() - outbox_sent_; }

  /// The next answer; blocks until DEADLINE. An answer of kind kFatal is an error.
  Result<BrokerAnswer> Await(Clock::time_point deadline);

  /// Takes what has arrived, without blocking, and calls ON_ANSWER for each answer in it. An error:
  /// the broker is gone or broke the protocol.
  Status TakeAnswers(const std::function<void(BrokerAnswer)>& on_answer);

  /// Readable when there are answers, or once the broker is gone.
  int watch_fd() const { return socket_.get(); }
  pid_t pid() const { return pid_; }

 private:
  Broker(UniqueFd socket, pid_t pid)
      : socket_(std::move(socket)), pid_(pid), reader_(std::make_unique<BrokerAnswerReader>()) {}
  Result<bool> Receive();

  UniqueFd socket_;
  std::string outbox_;
  size_t outbox_sent_ = 0;
  pid_t pid_ = -1;
  std::unique_ptr<BrokerAnswerReader> reader_;
};

}  // namespace sallyport::runtime
