#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace sallyport::guest {

/// The control messages of frame.h, each one CBOR map with small integer keys. Decode refuses
/// (kInvalid) a missing or repeated key, a wrong type, a number out of its range (exit codes 0 to
/// 255, signals 1 to 64) and anything behind the map; it skips keys that it doesn't know, so that a
/// newer peer may add some. Strings for the kernel (argv, env, cwd) have no zero byte.

struct Hello {
  uint32_t generation = 0;
  std::string Encode() const;
  static Result<Hello> Decode(std::string_view payload);
};

/// What the guest is to trust besides its own roots.
struct Trust {
  std::string ca_pem{};
  std::string subject_hash{};  ///< For "<hash>.0" in hashed directories.
  std::string Encode() const;
  static Result<Trust> Decode(std::string_view payload);
};

struct Exec {
  /// Never empty; argv[0] is looked up in env's PATH unless it has a '/'.
  std::vector<std::string> argv{};
  /// Set over the agent's defaults.
  std::vector<std::pair<std::string, std::string>> env{};
  std::string cwd{};  ///< Absolute; empty: "/".
  bool tty = false;
  uint16_t rows = 0;  ///< For a tty; 0 leaves the default.
  uint16_t columns = 0;
  /// Path, absolute, and content: written before the program starts, in place of what is there.
  std::vector<std::pair<std::string, std::string>> files{};
  std::string Encode() const;
  static Result<Exec> Decode(std::string_view payload);
};

struct Exit {
  int code = 0;    ///< The exit status, when `signal` is 0.
  int signal = 0;  ///< The signal that ended it.
  /// As shells say it: the code, or 128 + the signal.
  int ShellCode() const { return signal != 0 ? 128 + signal : code; }
  std::string Encode() const;
  static Result<Exit> Decode(std::string_view payload);
};

struct SignalRequest {
  int number = 0;
  std::string Encode() const;
  static Result<SignalRequest> Decode(std::string_view payload);
};

struct Resize {
  uint16_t rows = 0;
  uint16_t columns = 0;
  std::string Encode() const;
  static Result<Resize> Decode(std::string_view payload);
};

/// A server in the sandbox to connect to.
struct Dial {
  enum class Transport { kTcp = 1, kUdp = 2 };
  static constexpr size_t kMaxAddresses = 8;

  Transport transport = Transport::kTcp;
  uint16_t port = 0;  ///< Never 0.
  /// Of the sandbox's own, 1 to kMaxAddresses: the first that answers is taken. IPv4: 4 bytes,
  /// IPv6: 16, in network order.
  std::vector<std::string> addresses{};
  std::string Encode() const;
  static Result<Dial> Decode(std::string_view payload);
};

struct ErrorMessage {
  /// What a shell would exit with: 127 not found, 126 not runnable, 125 the sandbox failed, 124
  /// time is over.
  int exit_code = 125;
  std::string message{};
  std::string Encode() const;
  static Result<ErrorMessage> Decode(std::string_view payload);
};

}  // namespace sallyport::guest
