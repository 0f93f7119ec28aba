#include "mitm/grpc_problem.h"

#include <string>
#include <string_view>

#include "base/cut_text.h"
#include "mitm/limits.h"

namespace sallyport::mitm {
namespace {

constexpr std::string_view kGrpcType = "application/grpc";
constexpr std::string_view kPermissionDenied = "7";
constexpr std::string_view kUnavailable = "14";
// A content type that is repeated to who sent it.
constexpr size_t kMaxContentType = 128;

/// As gRPC's protocol for HTTP/2 spells a Status-Message.
std::string PercentEncoded(std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string encoded;
  encoded.reserve(text.size() + 16);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f && c != '%') {
      encoded += c;
    } else {
      encoded += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return encoded;
}

/// One line with what the problem document says in members.
std::string Message(const Refusal& refusal, uint64_t flow, const secrets::Store& secrets) {
  std::string text = secrets.Redact(refusal.detail);
  text += " (urn:sallyport:" + std::string(ToString(refusal.reason));
  text += ", status " + std::to_string(refusal.status);
  if (!refusal.rule.empty()) text += ", rule " + refusal.rule;
  text += ", flow " + std::to_string(flow) + ")";
  if (!refusal.how_to_allow.empty()) {
    text += " To allow it: " + secrets.Redact(refusal.how_to_allow);
  }
  return std::string(CutText(text, kMaxGrpcMessage));
}

}  // namespace

bool IsGrpc(const Headers& headers) {
  const std::string* type = headers.Find("content-type");
  return type != nullptr && type->size() >= kGrpcType.size() &&
         EqualsIgnoreCase(std::string_view(*type).substr(0, kGrpcType.size()), kGrpcType);
}

LocalAnswer MakeGrpcProblem(const Headers& headers, const Refusal& refusal, uint64_t flow,
                            const secrets::Store& secrets) {
  const std::string* type = headers.Find("content-type");
  const bool repeat = type != nullptr && type->size() <= kMaxContentType && IsFieldValue(*type);
  const bool unavailable =
      refusal.retry_after || (refusal.status >= 502 && refusal.status <= 504);
  LocalAnswer answer;
  answer.head.status = 200;
  answer.head.reason = ReasonPhrase(200);
  answer.head.headers.Add("Content-Type", repeat ? std::string_view(*type) : kGrpcType);
  answer.head.headers.Add("Grpc-Status", unavailable ? kUnavailable : kPermissionDenied);
  answer.head.headers.Add("Grpc-Message", PercentEncoded(Message(refusal, flow, secrets)));
  return answer;
}

}  // namespace sallyport::mitm
