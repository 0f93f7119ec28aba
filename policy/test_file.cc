// Theory of operation. The test file is a Lua state of its own: its chunk runs once and collects
// the tests; then each test's function runs, under a budget of its own, against an engine that was
// loaded for it. An expectation is a userdata with an index into the host's list of answers; its
// methods compare, and note what differs. Deciding enters the policy's Lua state from a C function
// of the test's one: they are two states, and the policy's errors end at its own Run().

#include "policy/test_file.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "policy/declarations.h"
#include "policy/dns_message.h"
#include "policy/question.h"
#include "policy/script_host.h"

namespace sallyport::policy {
namespace {

constexpr char kQuestion[] = "sallyport.question";
constexpr char kExpectation[] = "sallyport.expectation";
// What one test may ask; each answer is kept until its test is over.
constexpr size_t kMaxQuestions = 10'000;

/// What was asked, and what the policy said.
struct Asked {
  Question question;
  std::string words;  // As the failure's text has it.
  std::optional<Answer> answer;
  bool checked = false;
};

struct Test {
  std::string name;
  int line = 0;
  int function = LUA_NOREF;
  size_t policy = 0;  // Of TestHost::policies.
};

struct TestHost : ScriptHost {
  std::string folder;
  const PolicyReader* read = nullptr;
  bool overridden = false;
  std::vector<Engine::Source> policies;
  std::vector<Test> tests;
  // While a test runs.
  Engine* engine = nullptr;
  const Test* test = nullptr;
  std::vector<Asked> asked;
  std::vector<TestFailure> failures;
};

TestHost& HostOfTest(lua_State* lua) {
  return static_cast<TestHost&>(HostOf(lua));
}

std::string At(const TestHost& host, int line) {
  return host.file + ":" + std::to_string(line);
}

// ---- What is asked.

void PushIndex(lua_State* lua, const char* kind, size_t index) {
  *static_cast<size_t*>(lua_newuserdatauv(lua, sizeof(size_t), 0)) = index;
  luaL_setmetatable(lua, kind);
}

Asked& CheckAsked(lua_State* lua, const char* kind) {
  const size_t index = *static_cast<size_t*>(luaL_checkudata(lua, 1, kind));
  TestHost& host = HostOfTest(lua);
  if (index >= host.asked.size()) luaL_error(lua, "this belongs to a test that is over");
  return host.asked[index];
}

void AddHeaders(TableReader& reader, RequestHead& request) {
  reader.ForEachField("headers", [&](const std::string& name, int index) {
    const auto value = ReadString(reader.lua(), index);
    if (!IsToken(name) || !value || !IsFieldValue(*value)) {
      return reader.TypeError("headers", "{ name = \"value\" }", index);
    }
    request.headers.Add(name, *value);
  });
}

// `body` and `type`, as a client would send them.
void AddBody(TableReader& reader, Question& question) {
  auto body = reader.String("body");
  const auto type = reader.String("type");
  if (!body) {
    if (type) reader.Error("'type' is that of a 'body', which is missing");
    return;
  }
  if (body->size() > kMaxScriptBody) return reader.Error("'body' is longer than 1 MiB");
  if (type && !IsFieldValue(*type)) return reader.Error("'type' is no media type");
  if (type) question.request.headers.Set("content-type", *type);
  question.request.headers.Set("content-length", std::to_string(body->size()));
  question.body = std::move(body);
}

Result<Question> ReadRequestTable(lua_State* lua) {
  Diagnostics diagnostics(HostOf(lua).file);
  TableReader reader(lua, 1, diagnostics, "http", CurrentLine(lua));
  reader.Expect({"method", "url", "headers", "body", "type"});
  const std::string method = reader.String("method").value_or("GET");
  const auto url = reader.String("url");
  if (!url) reader.Error("needs a 'url'");
  Result<Question> question = Fail(Code::kInvalid, "");
  if (url) question = Question::Parse({"http", method, *url});
  if (question) AddHeaders(reader, question->request);
  if (question) AddBody(reader, *question);
  if (diagnostics.has_errors()) return Fail(Code::kInvalid, diagnostics.Take().front().message);
  return question;
}

// "GET https://…" and "example.com TXT" as the two words that they are.
std::vector<std::string> WordsOf(const std::string& kind, const std::string& text) {
  const size_t space = text.find(' ');
  if ((kind != "http" && kind != "dns") || space == std::string::npos) return {kind, text};
  if (text.find_first_not_of(' ', space) == std::string::npos) return {kind, text};
  return {kind, text.substr(0, space), text.substr(text.find_first_not_of(' ', space))};
}

std::string Describe(const std::string& kind, const Question& question) {
  const Facts& facts = question.facts;
  const std::string host = facts.name ? facts.name->text() : facts.destination.address.ToString();
  if (question.kind == Question::Kind::kName) {
    return "dns " + host + (question.type == dns::kTypeA ? "" : " " + dns::TypeName(question.type));
  }
  if (question.kind == Question::Kind::kFlow && facts.transport == Transport::kIcmp) {
    return kind + " " + host;
  }
  if (question.kind == Question::Kind::kFlow) {
    return kind + " " + host + ":" + std::to_string(facts.destination.port);
  }
  const RequestHead& request = question.request;
  return request.method + " " + request.scheme + "://" + request.authority + request.Target();
}

// Upvalue: "http", "tcp", "udp", "icmp" or "dns".
int Ask(lua_State* lua) {
  TestHost& host = HostOfTest(lua);
  const std::string kind = lua_tostring(lua, lua_upvalueindex(1));
  if (host.test == nullptr) return luaL_error(lua, "%s stands inside a test", kind.c_str());
  if (host.asked.size() >= kMaxQuestions) return luaL_error(lua, "too many questions in one test");
  const auto text = ReadString(lua, 1);
  const bool table = kind == "http" && lua_type(lua, 1) == LUA_TTABLE;
  if (!text && !table) {
    return luaL_error(lua, "%s takes %s, not %s", kind.c_str(),
                      kind == "http" ? "\"METHOD URL\" or { method=, url=, headers=, body=, type= }" : "a string",
                      DescribeType(lua, 1).c_str());
  }
  const auto question = table ? ReadRequestTable(lua) : Question::Parse(WordsOf(kind, *text));
  if (!question) return luaL_error(lua, "%s", question.error().message().c_str());
  host.asked.push_back({*question, Describe(kind, *question), std::nullopt, false});
  PushIndex(lua, kQuestion, host.asked.size() - 1);
  return 1;
}

// ---- What is expected.

int Expect(lua_State* lua) {
  Asked& asked = CheckAsked(lua, kQuestion);
  if (!asked.answer) asked.answer = Decide(*HostOfTest(lua).engine, asked.question);
  PushIndex(lua, kExpectation, static_cast<size_t>(&asked - HostOfTest(lua).asked.data()));
  return 1;
}

std::string Quoted(const std::string& text) {
  return "\"" + Printable(text) + "\"";
}

void Miss(lua_State* lua, const Asked& asked, const std::string& expected) {
  TestHost& host = HostOfTest(lua);
  TestFailure failure;
  failure.line = CurrentLine(lua);
  failure.expected = Printable(asked.words, 300) + " to be " + expected;
  const std::string verdict = asked.answer->allowed ? "allowed"
                              : asked.answer->waits ? "waiting"
                                                    : "denied";
  failure.got = verdict + (asked.answer->allowed ? "" : " (" + asked.answer->reason + ")") + ": " +
                asked.answer->detail;
  failure.rule = asked.answer->rule;
  failure.rule_line = SourceLine(host.policies[host.test->policy], failure.rule);
  host.failures.push_back(std::move(failure));
}

// So that checks can follow each other.
int Again(lua_State* lua) {
  lua_settop(lua, 1);
  return 1;
}

// Whether what was asked fits a check about names, or one about flows and requests.
enum class About { kName, kFlow };
Asked& CheckKind(lua_State* lua, About about) {
  Asked& asked = CheckAsked(lua, kExpectation);
  const bool name = asked.question.kind == Question::Kind::kName;
  if (name && about == About::kFlow) luaL_error(lua, "a name :resolves() or is :refused()");
  if (!name && about == About::kName)
    luaL_error(lua, "a flow or request is :allowed() or :denied()");
  asked.checked = true;
  return asked;
}

int Allowed(lua_State* lua) {
  const Asked& asked = CheckKind(lua, About::kFlow);
  if (!asked.answer->allowed) Miss(lua, asked, "allowed");
  return Again(lua);
}

int Denied(lua_State* lua) {
  const Asked& asked = CheckKind(lua, About::kFlow);
  const auto text = ReadString(lua, 2);
  if (!text && !lua_isnoneornil(lua, 2)) return luaL_error(lua, "denied takes a text, or nothing");
  const bool said = !text || asked.answer->reason == *text ||
                    asked.answer->detail.find(*text) != std::string::npos;
  if (asked.answer->allowed || asked.answer->waits || !said) {
    Miss(lua, asked, text ? "denied with " + Quoted(*text) : "denied");
  }
  return Again(lua);
}

int Asks(lua_State* lua) {
  const Asked& asked = CheckKind(lua, About::kFlow);
  if (!asked.answer->waits) Miss(lua, asked, "asked about");
  return Again(lua);
}

int Resolves(lua_State* lua) {
  const Asked& asked = CheckKind(lua, About::kName);
  if (!asked.answer->allowed) Miss(lua, asked, "resolved");
  return Again(lua);
}

int Refused(lua_State* lua) {
  const Asked& asked = CheckKind(lua, About::kName);
  if (asked.answer->allowed) Miss(lua, asked, "refused");
  return Again(lua);
}

// "policy.lua:3" is also what a rule of a preset used there is called by.
bool IsRule(const std::string& rule, const std::string& wanted) {
  return rule == wanted || rule.starts_with(wanted + "(");
}

int By(lua_State* lua) {
  Asked& asked = CheckAsked(lua, kExpectation);
  const auto rule = ReadString(lua, 2);
  if (!rule) return luaL_error(lua, "by takes a rule: \"policy.lua:12\", or its name");
  asked.checked = true;
  if (!IsRule(asked.answer->rule, *rule)) Miss(lua, asked, "decided by " + Quoted(*rule));
  return Again(lua);
}

int UnknownCheck(lua_State* lua) {
  const std::string name = ReadString(lua, 2).value_or("?");
  lua_pushvalue(lua, 2);
  if (lua_rawget(lua, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  return luaL_error(
      lua, "there is no check '%s'%s", Printable(name, 60).c_str(),
      DidYouMean(name, {"allowed", "denied", "asks", "by", "resolves", "refused"}).c_str());
}

// ---- The file's own statements.

int DeclareTest(lua_State* lua) {
  TestHost& host = HostOfTest(lua);
  if (host.test != nullptr) return luaL_error(lua, "a test can't stand inside another");
  const auto name = ReadString(lua, 1);
  if (!name || name->empty() || lua_type(lua, 2) != LUA_TFUNCTION || lua_gettop(lua) != 2) {
    return luaL_error(lua,
                      "test takes a sentence and a function: test(\"...\", function() ... end)");
  }
  if (host.policies.empty()) {
    return luaL_error(lua, "which policy? write policy \"policy.lua\" before the first test");
  }
  if (host.tests.size() >= kMaxTests) return luaL_error(lua, "too many tests");
  Test test{Printable(*name), CurrentLine(lua), LUA_NOREF, host.policies.size() - 1};
  test.function = luaL_ref(lua, LUA_REGISTRYINDEX);
  host.tests.push_back(std::move(test));
  return 0;
}

int DeclarePolicy(lua_State* lua) {
  TestHost& host = HostOfTest(lua);
  if (host.test != nullptr) return luaL_error(lua, "policy stands outside of tests");
  const auto path = ReadString(lua, 1);
  if (!path || path->empty()) return luaL_error(lua, "policy takes a file: policy \"policy.lua\"");
  if (host.overridden) return 0;
  auto source = (*host.read)(AbsolutePath(host.folder, *path));
  if (!source) return luaL_error(lua, "%s", source.error().message().c_str());
  host.policies.push_back(*std::move(source));
  return 0;
}

void DefineKind(lua_State* lua, const char* kind, const luaL_Reg* methods) {
  luaL_newmetatable(lua, kind);
  lua_newtable(lua);
  luaL_setfuncs(lua, methods, 0);
  lua_pushcclosure(lua, &UnknownCheck, 1);
  lua_setfield(lua, -2, "__index");
  lua_pushboolean(lua, 0);
  lua_setfield(lua, -2, "__metatable");
  lua_pop(lua, 1);
}

void DefineTests(lua_State* lua) {
  static constexpr luaL_Reg kNone[] = {{nullptr, nullptr}};
  static constexpr luaL_Reg kChecks[] = {
      {"allowed", &Allowed}, {"denied", &Denied}, {"asks", &Asks},   {"resolves", &Resolves},
      {"refused", &Refused}, {"by", &By},         {nullptr, nullptr}};
  DefineKind(lua, kQuestion, kNone);
  DefineKind(lua, kExpectation, kChecks);
  for (const char* kind : {"http", "tcp", "udp", "icmp", "dns"}) {
    lua_pushstring(lua, kind);
    lua_pushcclosure(lua, &Ask, 1);
    lua_setglobal(lua, kind);
  }
  lua_register(lua, "expect", &Expect);
  lua_register(lua, "test", &DeclareTest);
  lua_register(lua, "policy", &DeclarePolicy);
}

// ---- Running it.

class Runner {
 public:
  Runner(const Engine::Source& file, const std::optional<Engine::Source>& override,
         const PolicyReader& read)
      : file_(file) {
    host_.file = file.name;
    host_.folder = file.folder;
    host_.read = &read;
    host_.overridden = override.has_value();
    if (override) host_.policies.push_back(*override);
    state_.owner = static_cast<ScriptHost*>(&host_);
  }

  TestRun Run() && {
    Collect();
    if (run_.mistakes.empty()) CheckPolicies();
    if (!run_.mistakes.empty()) return std::move(run_);
    for (const Test& test : host_.tests) RunOne(test);
    if (host_.tests.empty()) run_.mistakes.push_back(file_.name + ": there is no test in it");
    return std::move(run_);
  }

 private:
  std::string Explain(const ScriptError& error) const {
    int line = error.line;
    std::string message = Printable(WithoutPlace(error.message, line), 500);
    return (line > 0 ? At(host_, line) : host_.file) + ": error: " + message;
  }

  void Collect() {
    if (file_.text.size() > kMaxTestText) {
      run_.mistakes.push_back(file_.name + ": the file is longer than 1 MiB");
      return;
    }
    ScriptError error;
    const bool ran = state_.Run(kLoadBudget, error, [this](lua_State* lua) {
      OpenSafeLibraries(lua);
      DefineTests(lua);
      GuardGlobals(lua);
      LuaState::Of(lua).Charge(static_cast<int64_t>(file_.text.size()));
      // Text only, as for policies.
      if (luaL_loadbufferx(lua, file_.text.data(), file_.text.size(), kChunkName, "t") != LUA_OK) {
        lua_error(lua);
      }
      CheckGlobalNames(lua, file_.text.size());
      lua_call(lua, 0, 0);
    });
    if (!ran) run_.mistakes.push_back(Explain(error));
  }

  void CheckPolicies() {
    for (const Engine::Source& policy : host_.policies) {
      const auto loaded = Engine::Load(policy);
      if (loaded.engine != nullptr) continue;
      for (const auto& diagnostic : loaded.diagnostics) {
        run_.mistakes.push_back(diagnostic.ToString());
      }
    }
  }

  void RunOne(const Test& test) {
    const auto loaded = Engine::Load(host_.policies[test.policy]);
    if (loaded.engine == nullptr) {  // It loaded a moment ago; only time can have run out.
      run_.mistakes.push_back(At(host_, test.line) + ": error: the policy does not load");
      return;
    }
    GivePlaceholders(*loaded.engine);
    host_.engine = loaded.engine.get();
    host_.test = &test;
    ScriptError error;
    const bool ran = state_.Run(kLoadBudget, error, [&test](lua_State* lua) {
      lua_rawgeti(lua, LUA_REGISTRYINDEX, test.function);
      lua_call(lua, 0, 0);
    });
    Finish(test, ran, error);
  }

  void Finish(const Test& test, bool ran, const ScriptError& error) {
    TestOutcome outcome{test.name, test.line, std::exchange(host_.failures, {})};
    bool checks = ran && !host_.asked.empty();
    for (const Asked& asked : host_.asked) checks = checks && asked.checked;
    if (!ran) {
      int line = error.line;
      const std::string message = Printable(WithoutPlace(error.message, line), 500);
      outcome.failures.push_back({line, "the test to run to its end", message, "", ""});
    } else if (!checks) {
      outcome.failures.push_back({test.line, "a check of everything that is asked",
                                  "the test checks nothing of what it asks", "", ""});
    }
    host_.asked.clear();
    host_.engine = nullptr;
    host_.test = nullptr;
    run_.tests.push_back(std::move(outcome));
  }

  static constexpr size_t kMaxTestText = size_t{1} << 20;  // As a policy.

  const Engine::Source& file_;
  TestHost host_;
  LuaState state_;
  TestRun run_;
};

}  // namespace

TestRun RunTestFile(const Engine::Source& file, const std::optional<Engine::Source>& override,
                    const PolicyReader& read) {
  return Runner(file, override, read).Run();
}

std::string SourceLine(const Engine::Source& policy, std::string_view rule) {
  const std::string prefix = policy.name + ":";
  if (!rule.starts_with(prefix)) return "";
  size_t number = 0;
  const char* const begin = rule.data() + prefix.size();
  if (std::from_chars(begin, rule.data() + rule.size(), number).ec != std::errc()) return "";
  std::string_view text = policy.text;
  for (size_t line = 1; line < number && !text.empty(); ++line) {
    text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  }
  return std::string(text.substr(0, text.find('\n')));
}

}  // namespace sallyport::policy
