#include "mitm/client_hello.h"

#include <openssl/bio.h>
#include <openssl/bytestring.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "mitm/tls_error.h"

// A server's SSL reads from memory until it has the whole message. The callback that BoringSSL
// makes at that point, before it has chosen or written anything, asks it to wait: for ever.

namespace sallyport::mitm {
namespace {

// Of encrypted_client_hello, its drafts from 8 on, and the ESNI that came before.
bool HidesName(uint16_t extension) {
  constexpr uint16_t kEsni = 0xffce;
  constexpr uint16_t kFirstDraft = 0xfe08;
  constexpr uint16_t kEncryptedClientHello = 0xfe0d;
  return extension == kEsni || (extension >= kFirstDraft && extension <= kEncryptedClientHello);
}

}  // namespace

SSL_CTX* ClientHelloReader::Context() {
  static SSL_CTX* const context = [] {
    SSL_CTX* made = SSL_CTX_new(TLS_method());
    SALLYPORT_CHECK(made != nullptr);
    SSL_CTX_set_select_certificate_cb(made, OnClientHello);
    return made;
  }();
  return context;
}

ClientHelloReader::ClientHelloReader() : ssl_(SSL_new(Context())), wire_(BIO_new(BIO_s_mem())) {
  SALLYPORT_CHECK(ssl_ && wire_ != nullptr);
  BIO_set_mem_eof_return(wire_, -1);  // Running dry is "not yet", not the end.
  SSL_set_bio(ssl_.get(), wire_, BIO_new(BIO_s_mem()));
  SSL_set_app_data(ssl_.get(), this);
  SSL_set_accept_state(ssl_.get());
}

ClientHelloReader::~ClientHelloReader() = default;

ClientHelloReader::State ClientHelloReader::Feed(std::string_view bytes) {
  SALLYPORT_CHECK(BIO_write(wire_, bytes.data(), static_cast<int>(bytes.size())) ==
                  static_cast<int>(bytes.size()));
  const int result = SSL_do_handshake(ssl_.get());
  const int error = SSL_get_error(ssl_.get(), result);
  if (seen_ && failure_.empty() && error == SSL_ERROR_PENDING_CERTIFICATE) return State::kComplete;
  if (!seen_ && error == SSL_ERROR_WANT_READ) return State::kIncomplete;
  const TlsFailure failure = TakeTlsFailure(ssl_.get(), false);
  if (failure_.empty()) failure_ = failure.detail;
  return State::kInvalid;
}

ssl_select_cert_result_t ClientHelloReader::OnClientHello(const SSL_CLIENT_HELLO* hello) noexcept {
  auto& self = *static_cast<ClientHelloReader*>(SSL_get_app_data(hello->ssl));
  self.seen_ = true;
  if (self.ReadNames(hello)) return ssl_select_cert_retry;
  self.failure_ = "its extensions are not well-formed";
  return ssl_select_cert_error;
}

bool ClientHelloReader::ReadNames(const SSL_CLIENT_HELLO* hello) {
  if (const char* sni = SSL_get_servername(hello->ssl, TLSEXT_NAMETYPE_host_name)) {
    names_.has_sni = true;
    if (auto name = HostName::Parse(sni)) names_.sni = std::move(*name);
  }
  std::vector<uint16_t> seen;
  CBS extensions;
  CBS_init(&extensions, hello->extensions, hello->extensions_len);
  while (CBS_len(&extensions) > 0) {
    uint16_t type = 0;
    CBS body;
    if (!CBS_get_u16(&extensions, &type) || !CBS_get_u16_length_prefixed(&extensions, &body)) {
      return false;
    }
    seen.push_back(type);
    names_.encrypted = names_.encrypted || HidesName(type);
  }
  // At most 4096 of them in a message of 16 KiB.
  std::sort(seen.begin(), seen.end());
  return std::adjacent_find(seen.begin(), seen.end()) == seen.end();
}

}  // namespace sallyport::mitm
