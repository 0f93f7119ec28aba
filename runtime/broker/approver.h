#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/loop.h"
#include "base/pending.h"
#include "base/result.h"
#include "base/secret_source.h"
#include "base/unique_fd.h"
#include "runtime/broker/messages.h"
#include "runtime/broker/variables.h"

namespace sallyport::runtime {

/// The user's command that answers questions. A child of the broker runs it, as Errands runs the
/// commands of secrets: forked before the broker confines itself, with the user's rights and
/// environment. It knows the command from its birth, and takes nothing but questions: whoever takes
/// over the confined broker can put words into the command's input, and run no other.
///
/// Each question has a process of its own, several at a time, with the question (a JSON document)
/// as its standard input and no terminal.
class Approver {
 public:
  /// TIMEOUT: after that a command under way is killed. Call while single-threaded.
  static Result<std::unique_ptr<Approver>> Start(const CommandSource& command,
                                                 std::chrono::milliseconds timeout,
                                                 const Variables& variables);

  /// Answers come through LOOP from then on; before, nothing may be asked.
  Status Attach(Loop& loop);

  /// Asks. Errors say why there is no answer, with the first line of what the command wrote to its
  /// standard error. Destroying the Pending kills the command.
  Pending Ask(std::string_view document, std::function<void(Result<ApprovalAnswer>)> done);

  Approver(const Approver&) = delete;
  Approver& operator=(const Approver&) = delete;

 private:
  struct Asked {
    std::function<void(Result<ApprovalAnswer>)> done;
    Loop::Handle later;
  };

  Approver(std::string program, UniqueFd socket)
      : program_(std::move(program)), socket_(std::move(socket)) {}
  void OnReady();
  void Finish(uint64_t id, Result<ApprovalAnswer> result);

  const std::string program_;
  UniqueFd socket_;
  Loop* loop_ = nullptr;
  Loop::Handle watch_;
  std::map<uint64_t, Asked> asked_;
  uint64_t next_id_ = 1;
};

}  // namespace sallyport::runtime
