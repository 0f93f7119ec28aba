#include "mitm/guest_tls.h"

#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/pool.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>

#include <string_view>
#include <utility>

namespace sallyport::mitm {
namespace {

using namespace std::string_view_literals;

// What we speak, as ALPN writes it, the preferred one first.
constexpr auto kProtocols = "\x02h2\x08http/1.1"sv;
constexpr auto kOnlyHttp1 = kProtocols.substr(3);

/// Whether OFFERED, the content of a ClientHello's ALPN extension behind its length, names
/// PROTOCOL.
bool Offers(CBS offered, std::string_view protocol) {
  CBS name;
  while (CBS_get_u8_length_prefixed(&offered, &name)) {
    if (CBS_mem_equal(&name, reinterpret_cast<const uint8_t*>(protocol.data()), protocol.size())) {
      return true;
    }
  }
  return false;
}

/// Whether the client leaves the choice between HTTP/2 and HTTP/1.1.
bool OffersBoth(const SSL_CLIENT_HELLO* hello) {
  const uint8_t* bytes = nullptr;
  size_t size = 0;
  if (SSL_early_callback_ctx_extension_get(
          hello, TLSEXT_TYPE_application_layer_protocol_negotiation, &bytes, &size) != 1) {
    return false;
  }
  CBS extension, offered;
  CBS_init(&extension, bytes, size);
  if (!CBS_get_u16_length_prefixed(&extension, &offered)) return false;
  return Offers(offered, "h2") && Offers(offered, "http/1.1");
}

GuestHello& HelloOf(const SSL* ssl) {
  return *static_cast<GuestHello*>(SSL_get_app_data(ssl));
}

/// The host that the certificate is for, or nothing when HELLO is refused.
std::optional<Host> DecideHost(const SSL* ssl, GuestHello& hello) {
  const char* sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (sni == nullptr) {
    return hello.name ? Host(*hello.name) : Host(hello.address);
  }
  auto name = HostName::Parse(sni);
  if (!name) {
    hello.refused = "the server name in the ClientHello is not a host name";
    return std::nullopt;
  }
  hello.sni = name->text();
  hello.mismatch = !hello.name || *hello.name != *name;
  return Host(std::move(*name));
}

/// Resumption itself ignores the name (BoringSSL compares nothing but this context): without it a
/// ticket of one host would be good for another.
bool BindSession(SSL* ssl, const GuestHello& hello, const Host& certified) {
  std::string bound = ToString(certified);
  bound.append(1, '\0').append(hello.name ? hello.name->text() : hello.address.ToString());
  bound.append(1, '\0').append(std::to_string(hello.port));
  uint8_t digest[SHA256_DIGEST_LENGTH];
  static_assert(sizeof digest <= SSL_MAX_SID_CTX_LENGTH);
  SHA256(reinterpret_cast<const uint8_t*>(bound.data()), bound.size(), digest);
  return SSL_set_session_id_context(ssl, digest, sizeof digest) == 1;
}

// Called with each complete ClientHello, before anything is answered.
ssl_select_cert_result_t OnClientHello(const SSL_CLIENT_HELLO* client_hello) noexcept {
  SSL* ssl = client_hello->ssl;
  GuestHello& hello = HelloOf(ssl);
  auto& authority = *static_cast<Authority*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  hello.seen = true;
  const std::optional<Host> host = DecideHost(ssl, hello);
  if (!host || !BindSession(ssl, hello, *host)) return ssl_select_cert_error;
  hello.held = hello.hold && OffersBoth(client_hello);
  if (hello.held) return ssl_select_cert_retry;
  CRYPTO_BUFFER* leaf = authority.Leaf(*host);
  if (leaf == nullptr) return ssl_select_cert_error;
  const bool set = SSL_set_chain_and_key(ssl, &leaf, 1, authority.leaf_key(), nullptr) == 1;
  return set ? ssl_select_cert_success : ssl_select_cert_error;
}

int OnAlpn(SSL* ssl, const uint8_t** out, uint8_t* out_size, const uint8_t* offered,
           unsigned offered_size, void*) noexcept {
  uint8_t* selected = nullptr;
  GuestHello& hello = HelloOf(ssl);
  const std::string_view protocols = hello.offer_h2 ? kProtocols : kOnlyHttp1;
  const auto* ours = reinterpret_cast<const uint8_t*>(protocols.data());
  if (SSL_select_next_proto(&selected, out_size, ours, static_cast<unsigned>(protocols.size()),
                            offered, offered_size) != OPENSSL_NPN_NEGOTIATED) {
    hello.refused = hello.offer_h2
                        ? "the client offers no protocol that the gate speaks (h2, http/1.1)"
                        : "the client offers no protocol that the gate speaks (http/1.1)";
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = selected;
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

Result<std::unique_ptr<GuestTls>> GuestTls::Create(Authority& authority) {
  bssl::UniquePtr<SSL_CTX> context(SSL_CTX_new(TLS_method()));
  if (!context || SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION) != 1) {
    ERR_clear_error();
    return Fail(Code::kSystem, "the guest's TLS can't be set up");
  }
  SSL_CTX_set_app_data(context.get(), &authority);
  SSL_CTX_set_select_certificate_cb(context.get(), OnClientHello);
  SSL_CTX_set_alpn_select_cb(context.get(), OnAlpn, nullptr);
  // Of TLS 1.2's suites ours is the order, as of 1.3's (cmake/boringssl/cipher_choice.cc).
  SSL_CTX_set_options(context.get(), SSL_OP_CIPHER_SERVER_PREFERENCE);
  // Sessions live in tickets alone. BoringSSL makes the keys for them, and new ones every two days.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_early_data_enabled(context.get(), 0);
  return std::unique_ptr<GuestTls>(new GuestTls(std::move(context)));
}

GuestTls::GuestTls(bssl::UniquePtr<SSL_CTX> context) : context_(std::move(context)) {}
GuestTls::~GuestTls() = default;

std::unique_ptr<TlsStream> GuestTls::Accept(Loop& loop, std::unique_ptr<Stream> guest,
                                            std::string already_read, GuestHello& hello) {
  bssl::UniquePtr<SSL> ssl(SSL_new(context_.get()));
  SSL_set_app_data(ssl.get(), &hello);
  SSL_set_accept_state(ssl.get());
  return std::make_unique<TlsStream>(loop, std::move(ssl), std::move(guest),
                                     std::move(already_read), TlsStream::Plaintext::kOrdinary);
}

std::string AlpnOf(const SSL* ssl) {
  const uint8_t* protocol = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl, &protocol, &size);
  return {reinterpret_cast<const char*>(protocol), size};
}

}  // namespace sallyport::mitm
