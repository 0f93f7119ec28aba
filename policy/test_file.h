#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "policy/engine.h"

namespace sallyport::policy {

/// Something that a test of a policy expected, and that was not so.
struct TestFailure {
  int line = 0;           ///< Of the test file.
  std::string expected;   ///< "POST https://api.example.com/x to be denied".
  std::string got;        ///< "allowed: the request is forwarded".
  std::string rule;       ///< What decided; empty for the default.
  std::string rule_line;  ///< Its line of the policy; empty for a rule with a name of its own.
};

/// One `test("…", function() … end)`.
struct TestOutcome {
  std::string name;
  int line = 0;
  std::vector<TestFailure> failures;

  bool passed() const { return failures.empty(); }
};

/// What a test file came to.
struct TestRun {
  std::vector<TestOutcome> tests;
  std::vector<std::string>
      mistakes;  ///< What is wrong with the files; the tests may then be missing.
};

/// Reads the policy at PATH, absolute.
using PolicyReader = std::function<Result<Engine::Source>(const std::string& path)>;

/// Tests longer than this are not run, nor more of them.
inline constexpr size_t kMaxTests = 10'000;

/// Runs the tests of FILE: Lua in the same restricted state, with the same budget, as a policy,
/// with names of its own:
///
///     policy "policy.lua"                          -- beside the test file; for the tests below it
///     test("reads only", function()
///       expect(http "GET https://api.github.com/user"):allowed():by "policy.lua:3"
///       expect(http { method = "POST", url = "https://api.github.com/user",
///                     headers = { accept = "text/html" } }):denied "this agent only reads"
///       expect(http { method = "POST", url = "https://api.github.com/user", body = "{}",
///                     type = "application/json" }):denied()     -- what req:body() reads
///       expect(tcp "db.internal:5432"):allowed()   -- also udp "host:port"
///       expect(http "GET https://b.example/"):asks()  -- the user, or waits in a callback
///       expect(dns "evil.example"):refused()       -- or :resolves()
///     end)
///
/// Each test gets the policy newly loaded, and decides by Decide() (question.h), as the gate does.
/// A test goes on after an expectation that failed; one that expects nothing fails. With OVERRIDE,
/// that policy is used for all, and `policy` of the file is passed over.
TestRun RunTestFile(const Engine::Source& file, const std::optional<Engine::Source>& override,
                    const PolicyReader& read);

/// The line of POLICY that RULE ("policy.lua:12", "policy.lua:3(npm:4)") stands on; empty for a
/// rule's own name.
std::string SourceLine(const Engine::Source& policy, std::string_view rule);

}  // namespace sallyport::policy
