#pragma once

#include <openssl/base.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/host_name.h"

namespace sallyport::mitm {

/// What a ClientHello says of whom it is for.
struct HelloNames {
  bool has_sni = false;
  /// Nothing where there is no SNI, or one that is not a host name.
  std::optional<HostName> sni;
  /// An encrypted_client_hello extension, or one of its drafts: the real name may be in it, where
  /// only the server can read it. One without meaning (GREASE, RFC 9849, section 6.2) is made to
  /// look just like that, so it counts as well.
  bool encrypted = false;
};

/// Reads a ClientHello from the beginning of a TLS connection, over any number of records and
/// pieces, and answers nothing. BoringSSL does the parsing, so what it takes for one name no strict
/// server takes for another; an extension that stands twice is refused, as RFC 8446, 4.2 has it.
class ClientHelloReader {
 public:
  enum class State { kIncomplete, kComplete, kInvalid };

  ClientHelloReader();
  ~ClientHelloReader();

  /// Takes the next bytes from the wire. Not to be called after kComplete or kInvalid. What follows
  /// the ClientHello is not looked at.
  State Feed(std::string_view bytes);

  /// After kComplete.
  const HelloNames& names() const { return names_; }
  /// After kInvalid: why.
  const std::string& failure() const { return failure_; }

 private:
  static ssl_select_cert_result_t OnClientHello(const SSL_CLIENT_HELLO* hello) noexcept;
  static SSL_CTX* Context();
  bool ReadNames(const SSL_CLIENT_HELLO* hello);

  bssl::UniquePtr<SSL> ssl_;
  BIO* wire_ = nullptr;  // ssl_'s.
  bool seen_ = false;
  HelloNames names_;
  std::string failure_;
};

}  // namespace sallyport::mitm
