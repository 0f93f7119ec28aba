#pragma once

#include <sys/types.h>
#include <sys/un.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

// What other commands of the same user say to a running sandbox: one request and one reply, each one
// packet of a SOCK_SEQPACKET connection. The socket's name is abstract, so nothing is left of it when
// the sandbox is gone; it lies in the host's network namespace, where no guest is.

namespace sallyport::runtime {

constexpr size_t kMaxControlPacket = 64 * 1024;

/// "secret rotate" and its arguments. A secret's value never is one: it comes in a file of memory.
struct ControlRequest {
  std::string verb;
  std::vector<std::string> arguments;

  std::string Encode() const;
  /// kInvalid for anything that Encode() did not write.
  static Result<ControlRequest> Decode(std::string_view bytes);
};

/// What became of it: TEXT is an error's message or an answer in words; ROWS, where the answer is a
/// table, begin with the columns' names.
struct ControlReply {
  bool done = false;
  std::string text;
  std::vector<std::vector<std::string>> rows;

  std::string Encode() const;
  static Result<ControlReply> Decode(std::string_view bytes);
};

/// The socket's abstract name, without the leading NUL: "sallyport/UID/SANDBOX".
std::string ControlSocketName(uid_t owner, std::string_view sandbox);

struct ControlAddress {
  sockaddr_un name{};
  socklen_t size = 0;
};
/// Where that is. Nothing for an id that is too long for any.
std::optional<ControlAddress> ControlAddressOf(uid_t owner, std::string_view sandbox);

/// A listening socket of that name. kDenied when somebody has the name already.
Result<UniqueFd> ListenForControl(uid_t owner, std::string_view sandbox);

/// Sends PACKET, with ATTACHED where that is valid.
Status SendControl(int socket, std::string_view packet, const UniqueFd& attached);

struct ControlPacket {
  std::string bytes;
  UniqueFd attached;
};
/// The next packet of SOCKET. kNotFound when the peer is gone, kInvalid for one that is too long.
Result<ControlPacket> ReceiveControl(int socket);

}  // namespace sallyport::runtime
