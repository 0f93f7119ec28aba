// BoringSSL and, through libcurl, OpenSSL in one process: must pass the check.
#include <curl/curl.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>

int main() {
  uint8_t digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const uint8_t*>("x"), 1, digest);
  SSL_CTX* context = SSL_CTX_new(TLS_method());
  CURL* curl = curl_easy_init();
  const bool good = digest[0] == 0x2d && context != nullptr && curl != nullptr;
  curl_easy_cleanup(curl);
  SSL_CTX_free(context);
  return good ? 0 : 1;
}
