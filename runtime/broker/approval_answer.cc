#include "runtime/broker/approval_answer.h"

#include <nlohmann/json.hpp>
#include <string>

namespace sallyport::runtime {

namespace {

using nlohmann::json;

constexpr size_t kMaxAnswer = 1024;
constexpr char kForm[] = R"({"decision":"allow" or "deny","scope":"once" or "session"})";

tl::unexpected<Error> NoAnswer() {
  return Fail(Code::kInvalid, std::string("what it said is not ") + kForm);
}

}  // namespace

Result<ApprovalAnswer> ParseApprovalAnswer(std::string_view text) {
  if (text.size() > kMaxAnswer) return NoAnswer();
  size_t keys = 0;  // The parser keeps one of several members of a name.
  const auto count = [&keys](int, json::parse_event_t event, json&) {
    if (event == json::parse_event_t::key) ++keys;
    return true;
  };
  const json answer = json::parse(text, count, false);
  if (!answer.is_object() || answer.size() != keys) return NoAnswer();
  const auto decision = answer.find("decision");
  const auto scope = answer.find("scope");
  if (decision == answer.end() || keys != (scope == answer.end() ? 1U : 2U)) return NoAnswer();
  const bool once = scope == answer.end() || *scope == "once";
  if (!once && *scope != "session") return NoAnswer();
  if (*decision == "allow") return once ? ApprovalAnswer::kOnce : ApprovalAnswer::kSession;
  if (*decision == "deny") return once ? ApprovalAnswer::kDeny : ApprovalAnswer::kDenySession;
  return NoAnswer();
}

Result<ApprovalAnswer> JudgeCommand(int status, std::string_view output) {
  const bool printed = output.find_first_not_of(" \t\r\n") != output.npos;
  if (status == 0) return printed ? ParseApprovalAnswer(output) : ApprovalAnswer::kOnce;
  if (status != 1) {
    return Fail(Code::kInvalid, "it ended with status " + std::to_string(status) +
                                    ", and only 0 and 1 are answers");
  }
  const auto answer = printed ? ParseApprovalAnswer(output) : Result<ApprovalAnswer>(NoAnswer());
  return answer && *answer == ApprovalAnswer::kDenySession ? ApprovalAnswer::kDenySession
                                                           : ApprovalAnswer::kDeny;
}

}  // namespace sallyport::runtime
