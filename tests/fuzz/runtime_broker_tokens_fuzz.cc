// What token endpoints answer: a token that is taken can stand in a header, and no message repeats
// what was sent.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "runtime/broker/token.h"

using namespace sallyport;
using namespace sallyport::runtime;

namespace {

constexpr std::string_view kSent = "hunter2";

void Check(const Result<Token>& token) {
  if (!token) {
    if (token.error().message().find(kSent) != std::string::npos) abort();
    if (token.error().message().size() > 1000) abort();
    return;
  }
  if (token->value.text.empty() || !IsFieldValue(token->value.text)) abort();
  if (token->lifetime &&
      (token->lifetime->count() < 0 || *token->lifetime > std::chrono::hours(24 * 365)))
    abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr int kStatuses[] = {200, 201, 400, 401};
  if (size < 1) return 0;
  HttpAnswer answer;
  answer.status = kStatuses[data[0] % 4];
  answer.body.text.assign(reinterpret_cast<const char*>(data) + 1, size - 1);
  Check(ReadOAuth2Answer(answer, {kSent}));
  const size_t line = answer.body.text.find('\n');
  if (line != std::string::npos) {
    answer.headers.Add("Date", answer.body.text.substr(0, line));
    answer.body.text.erase(0, line + 1);
  }
  const auto now = std::chrono::system_clock::from_time_t(1'700'000'000);
  Check(ReadInstallationToken(answer, now));
  return 0;
}
