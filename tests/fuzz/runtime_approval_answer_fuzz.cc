// What a webhook answers, and what a command prints: a yes says "allow", and no message repeats the
// input.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "runtime/broker/approval_answer.h"

using namespace sallyport;
using namespace sallyport::runtime;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto answer = ParseApprovalAnswer(text);
  if (!answer && answer.error().message().size() > 200) abort();
  if (answer && *answer == ApprovalAnswer::kNone) abort();
  const bool yes =
      answer && (*answer == ApprovalAnswer::kOnce || *answer == ApprovalAnswer::kSession);
  // JSON may spell the words with escapes.
  if (yes && text.find("allow") == text.npos && text.find('\\') == text.npos) abort();
  const auto refused = JudgeCommand(1, text);
  if (!refused || *refused == ApprovalAnswer::kOnce || *refused == ApprovalAnswer::kSession)
    abort();
  if (JudgeCommand(2, text)) abort();
  return 0;
}
