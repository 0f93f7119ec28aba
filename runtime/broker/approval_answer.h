#pragma once

#include <string_view>

#include "base/result.h"
#include "runtime/broker/messages.h"

// What a webhook or a command says to a question. No I/O.

namespace sallyport::runtime {

/// {"decision":"allow"|"deny","scope":"once"|"session"}; without a scope, once. White space around
/// it is no matter; anything else is: another member or type, one that stands twice, more than 1
/// KiB. kInvalid says in one line what is wrong, and repeats nothing of it. Never kNone.
Result<ApprovalAnswer> ParseApprovalAnswer(std::string_view text);

/// What a command means that ended with the exit STATUS and printed OUTPUT: a status of 0 allows,
/// if nothing was printed, or says what was printed, which must be an answer. 1 denies, whatever
/// was printed, for the session if that is what the answer printed says. Any other status is none.
Result<ApprovalAnswer> JudgeCommand(int status, std::string_view output);

}  // namespace sallyport::runtime
