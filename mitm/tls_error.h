#pragma once

#include <openssl/base.h>

#include <string>

namespace sallyport::mitm {

/// Why a TLS connection failed.
struct TlsFailure {
  enum class Kind {
    kNone,
    kAlert,        ///< The peer gave up and said why.
    kCertificate,  ///< The peer's certificate did not verify.
    kClosed,       ///< The connection ended or broke in the middle.
    kNotTls,       ///< The peer speaks something else.
    kProtocol,     ///< Anything else: no common version, a broken record.
  };
  Kind kind = Kind::kNone;
  int alert = 0;       ///< For kAlert: the number from the TLS registry.
  std::string detail;  ///< "certificate has expired: …", "the peer sent alert 48 (unknown ca)".
  std::string advice = {};  ///< What would help, where something is known to.

  /// The peer's alert says that it does not accept our certificate.
  bool refuses_certificate() const;
};

/// What a call on SSL came to.
enum class TlsOutcome { kDone, kWouldBlock, kEnd, kFailed };

/// Reads the outcome of a call that returned RESULT; the one place that does.
TlsOutcome OutcomeOf(const SSL* ssl, int result);

/// Reads the reason of the latest failure of SSL out of the error queue, and empties the queue.
/// INPUT_ENDED: the transport had ended before.
TlsFailure TakeTlsFailure(const SSL* ssl, bool input_ended);

/// The peer sent ALERT, of the TLS registry.
TlsFailure FailureOfAlert(int alert);

/// TEXT from a peer for a message: printable ASCII only, and short.
std::string Printable(std::string_view text);

}  // namespace sallyport::mitm
