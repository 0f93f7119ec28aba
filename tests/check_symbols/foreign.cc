// Uses the system's OpenSSL directly: must be refused.
extern "C" const void* EVP_sha256();

int main() { return EVP_sha256() != nullptr ? 0 : 1; }
