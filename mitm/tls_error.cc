#include "mitm/tls_error.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <string_view>

#include "mitm/server_certificate.h"

namespace sallyport::mitm {
namespace {

constexpr size_t kShownText = 100;

// "TLSV1_ALERT_UNKNOWN_CA" as people write it: "unknown ca".
std::string Readable(const char* reason) {
  std::string_view text = reason != nullptr ? reason : "UNKNOWN_ERROR";
  for (const std::string_view prefix : {"TLSV1_ALERT_", "SSLV3_ALERT_", "TLSV1_"}) {
    if (text.starts_with(prefix)) {
      text.remove_prefix(prefix.size());
      break;
    }
  }
  std::string readable(text);
  std::transform(readable.begin(), readable.end(), readable.begin(), [](char c) {
    return c == '_' ? ' ' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return readable;
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string printable(text.substr(0, kShownText));
  std::replace_if(
      printable.begin(), printable.end(), [](char c) { return c < 0x20 || c > 0x7e; }, '?');
  return printable;
}

bool TlsFailure::refuses_certificate() const {
  return kind == Kind::kAlert &&
         (alert == SSL_AD_UNKNOWN_CA || alert == SSL_AD_BAD_CERTIFICATE ||
          alert == SSL_AD_CERTIFICATE_UNKNOWN || alert == SSL_AD_UNSUPPORTED_CERTIFICATE ||
          alert == SSL_AD_CERTIFICATE_EXPIRED || alert == SSL_AD_CERTIFICATE_REVOKED);
}

TlsOutcome OutcomeOf(const SSL* ssl, int result) {
  if (result > 0) return TlsOutcome::kDone;
  switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_NONE:
      return TlsOutcome::kDone;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
    case SSL_ERROR_PENDING_CERTIFICATE:  // A ClientHello is held.
      return TlsOutcome::kWouldBlock;
    case SSL_ERROR_ZERO_RETURN:
      return TlsOutcome::kEnd;
    default:
      return TlsOutcome::kFailed;
  }
}

TlsFailure FailureOfAlert(int alert) {
  const uint32_t error = ERR_PACK(ERR_LIB_SSL, SSL_AD_REASON_OFFSET + alert);
  return {TlsFailure::Kind::kAlert, alert,
          "the peer sent alert " + std::to_string(alert) + " (" +
              Readable(ERR_reason_error_string(error)) + ")"};
}

TlsFailure TakeTlsFailure(const SSL* ssl, bool input_ended) {
  const uint32_t error = ERR_peek_error();
  TlsFailure failure;
  const int reason = ERR_GET_REASON(error);
  if (error == 0) {
    failure = {TlsFailure::Kind::kClosed, 0,
               input_ended ? "the peer closed the connection" : "the connection broke"};
  } else if (ERR_GET_LIB(error) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET) {
    failure = FailureOfAlert(reason - SSL_AD_REASON_OFFSET);
  } else if (ERR_GET_LIB(error) == ERR_LIB_SSL && reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    const ServerCheck* check = ServerCheckOf(ssl);
    failure = {TlsFailure::Kind::kCertificate, 0, "the certificate did not verify"};
    if (check != nullptr && !check->problem.detail.empty()) {
      failure.detail = check->problem.detail;
      failure.advice = check->problem.advice;
    }
  } else if (ERR_GET_LIB(error) == ERR_LIB_SSL &&
             (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
              reason == SSL_R_HTTPS_PROXY_REQUEST || reason == SSL_R_UNEXPECTED_RECORD)) {
    failure = {TlsFailure::Kind::kNotTls, 0, "the peer does not speak TLS"};
  } else {
    failure = {TlsFailure::Kind::kProtocol, 0, Readable(ERR_reason_error_string(error))};
  }
  ERR_clear_error();
  return failure;
}

}  // namespace sallyport::mitm
