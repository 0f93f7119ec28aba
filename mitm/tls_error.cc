#include "mitm/tls_error.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <string_view>

namespace sallyport::mitm {
namespace {

constexpr size_t kShownNames = 4;
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

// The names that the peer's certificate is for, as far as it can still be had.
std::string NamesOf(const SSL* ssl) {
  const bssl::UniquePtr<X509> certificate(SSL_get_peer_certificate(ssl));
  if (!certificate) return {};
  const bssl::UniquePtr<GENERAL_NAMES> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr)));
  if (!names) return {};
  std::string list;
  size_t shown = 0;
  for (size_t i = 0; i < sk_GENERAL_NAME_num(names.get()) && shown < kShownNames; ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_DNS) continue;
    const ASN1_STRING* text = name->d.dNSName;
    list.append(shown++ > 0 ? ", " : "")
        .append(Printable({reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                           static_cast<size_t>(ASN1_STRING_length(text))}));
  }
  return list;
}

std::string CertificateProblem(const SSL* ssl) {
  const long result = SSL_get_verify_result(ssl);
  switch (result) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: {
      const std::string names = NamesOf(ssl);
      return "host name mismatch" + (names.empty() ? "" : ": the certificate is for " + names);
    }
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return "self signed certificate";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      return "the certificate was not issued by an authority that the gate trusts";
    case X509_V_OK:
      return "the certificate did not verify";
    default:
      return X509_verify_cert_error_string(result);
  }
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

TlsFailure TakeTlsFailure(const SSL* ssl, bool input_ended) {
  const uint32_t error = ERR_peek_error();
  TlsFailure failure;
  const int reason = ERR_GET_REASON(error);
  if (error == 0) {
    failure = {TlsFailure::Kind::kClosed, 0,
               input_ended ? "the peer closed the connection" : "the connection broke"};
  } else if (ERR_GET_LIB(error) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET) {
    const int alert = reason - SSL_AD_REASON_OFFSET;
    failure = {TlsFailure::Kind::kAlert, alert,
               "the peer sent alert " + std::to_string(alert) + " (" +
                   Readable(ERR_reason_error_string(error)) + ")"};
  } else if (ERR_GET_LIB(error) == ERR_LIB_SSL && reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    failure = {TlsFailure::Kind::kCertificate, 0, CertificateProblem(ssl)};
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
