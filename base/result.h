#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace sallyport {

/// Why an operation failed, in the terms a caller acts on.
enum class Code {
  kDenied,          ///< The policy said no.
  kNotFound,        ///< The named thing does not exist.
  kAddressRefused,  ///< Every address of the destination is of a refused class.
  kRefused,         ///< The peer refused the connection.
  kUnreachable,     ///< The peer or the network did not answer, or said it can't be reached.
  kTimeout,         ///< A deadline passed.
  kProxyRefused,    ///< The host's own proxy refused to connect, or can't be used.
  kProxyTimeout,    ///< The host's own proxy did not connect in time.
  kUntrusted,       ///< A certificate did not verify.
  kInvalid,         ///< Input that breaks its format; never trusted, never repaired.
  kLimit,           ///< A configured bound was reached.
  kUnsupported,     ///< This host or version can't do it; the message says what to change.
  kSystem,          ///< A system call failed; see Error::message.
};

/// A failure: a code to act on and a message for people.
/// Messages never hold secret values.
class [[nodiscard]] Error {
 public:
  Error(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  /// An error of kind kSystem for the current errno: "WHAT: Permission denied".
  static Error FromErrno(std::string_view what);

  Code code() const { return code_; }
  const std::string& message() const { return message_; }

  /// The same error with its place in the work put before it: "CONTEXT: MESSAGE".
  Error In(std::string_view context) &&;

 private:
  Code code_;
  std::string message_;
};

/// A value of type T, or the Error that took its place. Unlike tl::expected
/// itself, ignoring a returned Result is a warning.
template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
};

using Status = Result<void>;

inline tl::unexpected<Error> Fail(Code code, std::string message) {
  return tl::unexpected<Error>(Error(code, std::move(message)));
}

}  // namespace sallyport
