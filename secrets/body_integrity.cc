// A changed body is told from the one that the client described. Where the client only described
// it, the description goes. Where the client, or a library that it uses, signed the description, or
// a server insists on it, nothing can be repaired here, and the request is refused with a reason
// that a person can act on instead of the server's "signature does not match".

#include "secrets/body_integrity.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

namespace sallyport::secrets {
namespace {

constexpr std::array kDigests = std::to_array<std::string_view>({
    "content-digest",
    "content-md5",
    "digest",
    "repr-digest",
    "x-goog-hash",  // Google Cloud Storage
    "x-ms-content-crc64",
});
/// Amazon S3: one field for each algorithm.
constexpr std::string_view kAmzChecksums = "x-amz-checksum-";

/// HMACs of a body with a secret that both ends know, as webhooks carry them.
constexpr std::array kBodySignatures = std::to_array<std::string_view>({
    "stripe-signature",
    "x-gitea-signature",
    "x-hub-signature",
    "x-hub-signature-256",
    "x-shopify-hmac-sha256",
    "x-slack-signature",
});

constexpr std::string_view kUnsignedPayload = "UNSIGNED-PAYLOAD";

char Lowered(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string Lowered(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = Lowered(c);
  return lower;
}

template <size_t N>
bool IsOneOf(std::string_view name, const std::array<std::string_view, N>& names) {
  return std::any_of(names.begin(), names.end(),
                     [name](std::string_view known) { return EqualsIgnoreCase(name, known); });
}

bool IsDigest(std::string_view name) {
  return IsOneOf(name, kDigests) ||
         EqualsIgnoreCase(name.substr(0, kAmzChecksums.size()), kAmzChecksums);
}

/// Whether a signature's list of what it covers names the body: TEXT is lower case.
bool CoversBody(std::string_view text) {
  return text.find("digest") != std::string_view::npos ||
         text.find("content-md5") != std::string_view::npos;
}

/// What of FIELD forbids a change, named for people; empty when nothing does.
std::string_view ConflictOf(const HeaderField& field, bool unsigned_payload) {
  const std::string name = Lowered(field.name);
  if (IsOneOf(name, kBodySignatures)) return "a signature of the body";
  if (name == "x-amz-content-sha256") return unsigned_payload ? "" : "x-amz-content-sha256";
  if (name == "x-bz-content-sha1") {
    return field.value == "do_not_verify" ? "" : "x-bz-content-sha1";
  }
  const std::string value = Lowered(field.value);
  if (name == "authorization" && value.starts_with("aws4-")) {
    const bool covers =
        !unsigned_payload || CoversBody(value) || value.find(kAmzChecksums) != std::string::npos;
    return covers ? "an AWS signature that covers the body" : "";
  }
  if (name == "content-encoding" && value.find("aws-chunked") != std::string::npos) {
    return "a body of signed chunks";
  }
  const bool signature = name == "signature" || name == "signature-input" ||
                         (name == "authorization" && value.starts_with("signature "));
  return signature && CoversBody(value) ? "a signature that covers a digest of the body" : "";
}

}  // namespace

std::optional<Refusal> BodyIntegrityConflict(const Headers& headers) {
  const std::vector<std::string_view> hashes = headers.FindAll("x-amz-content-sha256");
  const bool unsigned_payload = hashes.size() == 1 && hashes.front() == kUnsignedPayload;
  for (const HeaderField& field : headers.fields()) {
    const std::string_view conflict = ConflictOf(field, unsigned_payload);
    if (conflict.empty()) continue;
    Refusal refusal;
    refusal.reason = Reason::kSecretWrongPlace;
    refusal.detail = "A secret may be put into this request's body, but the request carries ";
    refusal.detail += conflict;
    refusal.detail += ", so the server would refuse the changed body.";
    refusal.how_to_allow =
        "send it without (for AWS: UNSIGNED-PAYLOAD), or narrow the secret's paths";
    return refusal;
  }
  return std::nullopt;
}

void DropBodyDigests(Headers& headers) {
  std::erase_if(headers.fields(), [](const HeaderField& field) { return IsDigest(field.name); });
}

}  // namespace sallyport::secrets
