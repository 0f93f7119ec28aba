#pragma once

#include <sys/types.h>

#include <array>
#include <functional>
#include <list>
#include <memory>

#include "base/loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "runtime/warden/control_message.h"

namespace sallyport::runtime {

/// Serves the requests of other commands of the same user. Never blocks: a connection that sends
/// nothing within a few seconds, or doesn't take its reply at once, is closed. Two descriptors are
/// kept for a command and what comes with it: a guest may use up all others.
class ControlServer {
 public:
  /// ATTACHED is what came with the request, if anything.
  using Handler = std::function<ControlReply(const ControlRequest& request, UniqueFd attached)>;

  /// Serves LISTENER (ListenForControl) for OWNER alone.
  static Result<std::unique_ptr<ControlServer>> Create(Loop& loop, UniqueFd listener, uid_t owner,
                                                       Handler handler);

 private:
  struct Connection {
    UniqueFd socket;
    Loop::Handle watch;
    Loop::Handle deadline;
  };
  using Connections = std::list<Connection>;

  ControlServer(Loop& loop, UniqueFd listener, uid_t owner, Handler handler)
      : loop_(loop), listener_(std::move(listener)), owner_(owner), handler_(std::move(handler)) {}
  void Accept();
  UniqueFd AcceptOne();
  void Add(UniqueFd socket);
  void Drop(Connections::iterator connection);
  void KeepSpare();
  void Serve(Connections::iterator connection);
  void Answer(int socket, ControlPacket packet) const;
  bool IsOwner(int socket) const;

  Loop& loop_;
  UniqueFd listener_;
  const uid_t owner_;
  const Handler handler_;
  Connections connections_;
  std::array<UniqueFd, 2> spare_;
  Loop::Handle watch_;
};

}  // namespace sallyport::runtime
