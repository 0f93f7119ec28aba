#include "guest/agent/java_store.h"

#include <openssl/sha.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "guest/agent/pem.h"

namespace sallyport::guest {
namespace {

constexpr std::string_view kHeader("\xfe\xed\xfe\xed\0\0\0\2", 8);  // Magic and version 2.
constexpr size_t kFirstEntry = 12;
constexpr size_t kPiece = size_t{16} * 1024;  // At once; four pages.
static_assert(JavaStoreChange::kDigest == SHA_DIGEST_LENGTH);
constexpr uint32_t kTrustedCertificate = 2;
constexpr std::string_view kAlias = "sallyport";

// "changeit" in UTF-16, big endian.
constexpr std::string_view kPassword("\0c\0h\0a\0n\0g\0e\0i\0t", 16);
constexpr std::string_view kPhrase = "Mighty Aphrodite";

void PutNumber(std::string& out, uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(value >> (8 * i)));
}

void PutName(std::string& out, std::string_view name) {
  PutNumber(out, name.size(), 2);
  out.append(name);
}

std::string Entry(std::string_view alias, std::string_view der) {
  std::string entry;
  PutNumber(entry, kTrustedCertificate, 4);
  PutName(entry, alias);
  PutNumber(entry, 0, 8);  // When it was added; nobody asks.
  PutName(entry, "X.509");
  PutNumber(entry, der.size(), 4);
  return entry.append(der);
}

/// The checksum of a store that is told in pieces.
class Digest {
 public:
  Digest() {
    SHA1_Init(&hash_);
    Add(kPassword);
    Add(kPhrase);
  }
  void Add(std::string_view bytes) { SHA1_Update(&hash_, bytes.data(), bytes.size()); }
  std::string Finish() {
    uint8_t digest[SHA_DIGEST_LENGTH];
    SHA1_Final(digest, &hash_);
    return {reinterpret_cast<const char*>(digest), sizeof digest};
  }

 private:
  SHA_CTX hash_;
};

uint32_t Number(std::string_view bytes) {
  uint32_t number = 0;
  for (const char byte : bytes) number = number << 8 | static_cast<uint8_t>(byte);
  return number;
}

/// Whether the bytes of a store before END are ENTRY.
bool EndsWith(const ReadStore& read, size_t end, std::string_view entry) {
  if (end < kFirstEntry + entry.size()) return false;
  std::string last(entry.size(), '\0');
  return read(end - entry.size(), last) && last == entry;
}

}  // namespace

Result<std::optional<JavaStoreChange>> ExtendJavaStore(const ReadStore& read, size_t size,
                                                       std::string_view der) {
  char piece[kPiece];
  const std::string_view head(piece, kFirstEntry);
  const bool known = size >= kFirstEntry + JavaStoreChange::kDigest &&
                     read(0, std::span(piece, kFirstEntry)) && head.starts_with(kHeader);
  if (!known) return Fail(Code::kInvalid, "not a JKS trust store");
  const std::string entry = Entry(kAlias, der);
  const size_t end = size - JavaStoreChange::kDigest;
  if (EndsWith(read, end, entry)) return std::optional<JavaStoreChange>();
  const uint32_t count = Number(head.substr(JavaStoreChange::kCountAt));
  if (count == UINT32_MAX) return Fail(Code::kInvalid, "a JKS trust store that is full");
  JavaStoreChange change;
  PutNumber(change.count, uint64_t{count} + 1, 4);
  Digest digest;
  digest.Add(kHeader);
  digest.Add(change.count);
  for (size_t at = kFirstEntry; at < end;) {
    const std::span<char> part(piece, std::min(kPiece, end - at));
    if (!read(at, part)) return Fail(Code::kInvalid, "a trust store that can't be read");
    digest.Add({part.data(), part.size()});
    at += part.size();
  }
  digest.Add(entry);
  change.end = entry + digest.Finish();
  return std::optional(std::move(change));
}

Result<std::string> MakeJavaStore(std::string_view pem) {
  std::string entries;
  uint32_t count = 0;
  for (;;) {
    const auto der = CutCertificate(pem);
    if (!der) return tl::unexpected(der.error());
    if (der->empty()) break;
    entries += Entry("root" + std::to_string(count++), *der);
  }
  if (count == 0) return Fail(Code::kInvalid, "no certificate in the bundle");
  std::string store(kHeader);
  PutNumber(store, count, 4);
  store.append(entries);
  Digest digest;
  digest.Add(store);
  return store.append(digest.Finish());
}

}  // namespace sallyport::guest
