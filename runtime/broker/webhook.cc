#include "runtime/broker/webhook.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <memory>

#include "runtime/broker/approval_answer.h"

namespace sallyport::runtime {

std::string OriginOf(const HttpUrl& url) {
  return (url.tls ? "https://" : "http://") + url.Authority();
}

std::string SignQuestion(std::string_view key, std::chrono::system_clock::time_point now,
                         std::string_view document) {
  static constexpr char kHex[] = "0123456789abcdef";
  const std::string time = std::to_string(
      std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count());
  const std::string text = time + "." + std::string(document);
  std::array<uint8_t, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), key.size(), reinterpret_cast<const uint8_t*>(text.data()),
       text.size(), digest.data(), &size);
  std::string signature = "t=" + time + ",v1=";
  for (unsigned i = 0; i < size; ++i) {
    signature.append(1, kHex[digest[i] >> 4]).append(1, kHex[digest[i] & 0xf]);
  }
  return signature;
}

Result<ApprovalAnswer> ReadWebhookAnswer(const HttpAnswer& response) {
  if (response.status != 200) {
    return Fail(Code::kInvalid, "it answered with status " + std::to_string(response.status));
  }
  return ParseApprovalAnswer(response.body.text);
}

Pending Webhook::Ask(std::string_view document, std::function<void(Result<ApprovalAnswer>)> done) {
  HttpRequest request;
  request.url = spec_.url;
  request.private_network = spec_.private_network;
  request.deadline = timeout_;
  request.called = OriginOf(spec_.url);
  request.headers.Add("Content-Type", "application/json");
  request.headers.Add("User-Agent", "sallyport");
  request.body.text = document;
  if (spec_.key) {
    const auto* env = std::get_if<EnvSource>(&*spec_.key);
    const auto key =
        env != nullptr ? sources_.Read(*env) : sources_.Read(std::get<FileSource>(*spec_.key));
    if (!key) {
      auto later = std::make_shared<Loop::Handle>(
          loop_.Post([why = key.error(), done] { done(tl::unexpected(Error(why).In("key"))); }));
      return Pending([later] { *later = {}; });
    }
    request.headers.Add("X-Sallyport-Signature",
                        SignQuestion(key->text, std::chrono::system_clock::now(), document));
  }
  return http_.Post(std::move(request), [this, done = std::move(done)](Result<HttpAnswer> answer) {
    if (!answer) return done(tl::unexpected(std::move(answer).error()));
    auto read = ReadWebhookAnswer(*answer);
    if (read) return done(std::move(read));
    done(tl::unexpected(std::move(read).error().In(OriginOf(spec_.url))));
  });
}

}  // namespace sallyport::runtime
