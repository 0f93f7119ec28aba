// What a TLS 1.3 server takes of the cipher suites that its client offers. BoringSSL follows the
// client, and OpenSSL's put AES-256 with SHA-384 first: the CPU has instructions for SHA-256 but not
// for SHA-384, which is an eighth of what a new connection costs a gate. So AES-128, that every
// client must offer (RFC 8446, 9.1), is taken where it is and the CPU does AES.
//
// CMakeLists.txt gives BoringSSL's own function the other name.

#include "internal.h"

BSSL_NAMESPACE_BEGIN

const SSL_CIPHER *ssl_choose_tls13_cipher_as_the_client_likes(CBS cipher_suites, uint16_t version,
                                                              uint16_t group_id);

static bool offers(CBS cipher_suites, uint16_t wanted) {
  uint16_t one;
  while (CBS_get_u16(&cipher_suites, &one)) {
    if (one == wanted) return true;
  }
  return false;
}

const SSL_CIPHER *ssl_choose_tls13_cipher(CBS cipher_suites, uint16_t version,
                                          uint16_t group_id) {
  const SSL_CIPHER *liked =
      ssl_choose_tls13_cipher_as_the_client_likes(cipher_suites, version, group_id);
  constexpr uint16_t kAes128GcmSha256 = TLS1_CK_AES_128_GCM_SHA256 & 0xffff;
  // A group that withstands quantum computers is for 256 bits.
  if (liked == nullptr || !EVP_has_aes_hardware() || group_id == SSL_CURVE_CECPQ2 ||
      !offers(cipher_suites, kAes128GcmSha256)) {
    return liked;
  }
  return SSL_get_cipher_by_value(kAes128GcmSha256);
}

BSSL_NAMESPACE_END
