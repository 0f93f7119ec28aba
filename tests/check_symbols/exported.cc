// Exports a function under a name that libcrypto.so.3 has too: must be refused.
#include <curl/curl.h>

extern "C" void* EVP_MD_CTX_new() { return nullptr; }

int main() { return curl_version() != nullptr ? 0 : 1; }
