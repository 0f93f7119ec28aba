#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "guest/protocol/frame.h"
#include "guest/protocol/message_assembler.h"
#include "guest/protocol/messages.h"
#include "guest/protocol/stream_credit.h"

namespace sallyport::guest {

/// One program as the host sees it.
struct Stream {
  std::string stdin_left;
  bool stdin_ends = false;  ///< kFlagEnd follows the last of stdin_left.
  bool grants = true;       ///< Gives credit for the output that came.
  std::string out;
  std::string err;
  bool started = false;
  bool out_ended = false;
  bool err_ended = false;
  std::optional<Exit> exit;
  std::optional<ErrorMessage> error;
  SendCredit send_credit;
  ReceiveCredit receive_credit;

  bool over() const { return exit || error; }
};

/// A host that keeps to the protocol. It fails the test if the agent does not, or if what is waited
/// for does not come.
class AgentClient {
 public:
  explicit AgentClient(UniqueFd fd);

  void SendHello();
  void SendTrust(const Trust& trust);
  /// Hello and trust, both answered.
  void Open(const Trust& trust = {});

  /// Opens a stream; STDIN_BYTES and its end follow as there is credit.
  uint32_t Start(const Exec& exec, const std::string& stdin_bytes = "");
  /// As Start, but the program's stdin stays open.
  uint32_t StartOpen(const Exec& exec);
  /// Runs ARGV to its end.
  Stream Run(const std::vector<std::string>& argv, const std::string& stdin_bytes = "");
  Stream RunExec(const Exec& exec, const std::string& stdin_bytes = "");
  Stream Shell(const std::string& script) { return Run({"sh", "-c", script}); }

  Stream& stream(uint32_t id) { return streams_.at(id); }
  void Send(FrameType type, uint32_t stream, const std::string& payload = "", uint8_t flags = 0,
            uint32_t credit = 0);
  /// Sends and receives until DONE.
  void Until(const std::function<bool()>& done);
  void UntilOver(uint32_t stream);
  void UntilClosed();

  bool trusted() const { return trusted_; }
  int pongs() const { return pongs_; }
  const std::optional<ErrorMessage>& failure() const { return failure_; }
  void Close() { fd_.reset(); }

 private:
  void Exchange();
  void SendStdin();
  void ReadSome();
  void OnFrame(const Frame& frame);
  void OnConnectionFrame(const Frame& frame);
  void OnOutput(Stream& stream, const Frame& frame);

  UniqueFd fd_;
  FrameDecoder decoder_;
  MessageAssembler assembler_;
  std::string out_;
  std::map<uint32_t, Stream> streams_;
  uint32_t next_stream_ = 1;
  bool greeted_ = false;
  bool trusted_ = false;
  bool closed_ = false;
  int pongs_ = 0;
  std::optional<ErrorMessage> failure_;
};

}  // namespace sallyport::guest
