#pragma once

#include <sys/types.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/pending.h"
#include "base/result.h"
#include "base/secret_source.h"
#include "base/unique_fd.h"
#include "runtime/broker/sources.h"
#include "runtime/broker/wiped.h"

namespace sallyport::runtime {

/// What needs the user's own rights while the sandbox runs: a declared command is run, a declared
/// file is read or replaced. A child of the broker does it, forked before the broker confines
/// itself; it keeps the user's id, files and network, and takes nothing but the number of a
/// declaration, so that whoever takes over the confined broker, which talks to servers, gets no
/// more than that.
///
/// A command has no terminal and no input, the user's environment, and 30 seconds. It is no shell's
/// line. It dies, with its process group, when the time is over or the broker is gone.
class Errands {
 public:
  struct Declared {
    std::vector<CommandSource> commands;
    std::vector<std::string> files;  ///< Absolute paths.
  };

  /// Forks the child, and gives it VARIABLES, its commands' environment. Call while
  /// single-threaded.
  static Result<std::unique_ptr<Errands>> Start(Declared declared, const Variables& variables);

  /// Answers come through LOOP from then on; before, nothing may be asked.
  Status Attach(Loop& loop);

  /// What COMMAND prints, without its last newline. Errors say how it ended, with the first line of
  /// what it wrote to its standard error. kNotFound for one that was not declared.
  Pending Run(const CommandSource& command, std::function<void(Result<Wiped>)> done);
  /// What PATH, one of the declared files, holds now, without its last newline.
  Pending ReadFile(const std::string& path, std::function<void(Result<Wiped>)> done);
  /// Replaces the content of PATH: written beside it, synchronised and renamed, with the mode and
  /// the owner that it had. A symbolic link stays one.
  Pending ReplaceFile(const std::string& path, const Wiped& content,
                      std::function<void(Result<Wiped>)> done);

  Errands(const Errands&) = delete;
  Errands& operator=(const Errands&) = delete;

 private:
  struct Errand {
    uint64_t id;
    Wiped request;
    std::function<void(Result<Wiped>)>
        done;  ///< Null: nobody waits any more, the answer is dropped.
  };

  Errands(Declared declared, UniqueFd socket)
      : declared_(std::move(declared)), socket_(std::move(socket)) {}
  Pending Ask(uint8_t kind, Result<size_t> number, std::string_view content,
              std::function<void(Result<Wiped>)> done);
  Result<size_t> NumberOf(const std::string& path) const;
  void SendNext();
  void OnReady();
  void Finish(Result<Wiped> result);

  Declared declared_;
  UniqueFd socket_;
  Loop* loop_ = nullptr;
  Loop::Handle watch_;
  Loop::Handle send_;
  std::deque<Errand> queue_;  // The first one is under way once sent_.
  bool sent_ = false;
  uint64_t next_id_ = 1;
};

}  // namespace sallyport::runtime
