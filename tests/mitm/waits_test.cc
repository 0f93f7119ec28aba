#include "mitm/limits.h"
#include "tests/mitm/harness.h"

// Requests whose decision waits: for the user, or for their body.

namespace sallyport::mitm {
namespace {

using policy::Approval;
using policy::RequestVerdict;

// Waits for WAIT, then does what a function says.
class Suspended final : public policy::SuspendedRequest {
 public:
  using Then = std::function<RequestVerdict(policy::WaitResult, RequestHead&)>;
  Suspended(policy::Wait wait, Then then) : wait_(std::move(wait)), then_(std::move(then)) {}
  const policy::Wait& wait() const override { return wait_; }
  RequestVerdict Resume(policy::WaitResult result, RequestHead& head) override {
    return then_(std::move(result), head);
  }

  static RequestVerdict For(policy::Wait wait, Then then) {
    RequestVerdict verdict;
    verdict.action = RequestVerdict::Action::kWait;
    verdict.rule = "policy.lua:4";
    verdict.suspended = std::make_shared<Suspended>(std::move(wait), std::move(then));
    return verdict;
  }

 private:
  const policy::Wait wait_;
  const Then then_;
};

RequestVerdict AskUser(const policy::Facts&, const policy::TlsFacts&, RequestHead&) {
  return Suspended::For(policy::AskWait{}, [](policy::WaitResult result, RequestHead&) {
    if (std::get<Approval>(result) == Approval::kApproved) return policy::FakeEngine::Forward();
    return policy::FakeEngine::Deny({.reason = Reason::kApprovalDenied,
                                     .status = 403,
                                     .detail = "no",
                                     .rule = "policy.lua:4",
                                     .how_to_allow = {}});
  });
}

// Reads up to MAX of the body, and sends what CHANGE makes of it.
auto WithBody(size_t max, std::function<RequestVerdict(std::optional<std::string>)> change) {
  return [=](const policy::Facts&, const policy::TlsFacts&, RequestHead&) {
    return Suspended::For(policy::BodyWait{max}, [=](policy::WaitResult result, RequestHead&) {
      return change(std::get<policy::ReadBody>(std::move(result)).bytes);
    });
  };
}

std::string Post(const std::string& body, const std::string& fields = {}) {
  return "POST /x HTTP/1.1\r\nHost: api.test\r\n" + fields +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

TEST_CASE("a request waits for the user; nothing goes upstream before his yes") {
  TestGate gate;
  gate.engine.OnRequest(AskUser);
  auto guest = gate.Open();
  guest->Send(Post("hello"));
  gate.RunUntil([&] { return gate.waits.open() == 1; });
  gate.Settle();
  CHECK(gate.waits.begun[0].path == "/x");
  CHECK(gate.origin.connections() == 0);
  CHECK(guest->received.empty());
  SECTION("yes") {
    gate.waits.Finish(0, Approval::kApproved);
    const std::string answer = gate.TakeAnswer(*guest);
    CHECK(StatusOf(answer) == 200);
    CHECK(answer.ends_with("hello"));
    CHECK(gate.LastRecord().detail == "approved by the user");
  }
  SECTION("no") {
    gate.waits.Finish(0, Approval::kDenied);
    CHECK(StatusOf(gate.TakeAnswer(*guest)) == 403);
    CHECK(gate.LastRecord().reason == Reason::kApprovalDenied);
    CHECK(gate.LastRecord().rule == "policy.lua:4");
    CHECK(gate.origin.connections() == 0);
  }
  SECTION("the gate ends") {
    gate.interceptor.reset();
    CHECK(gate.waits.open() == 0);
    CHECK(gate.origin.connections() == 0);
    CHECK(gate.audit.records.size() == 1);
  }
}

TEST_CASE("a question shows the beginning of a body and its size, and the whole body goes on") {
  TestGate gate;
  gate.engine.OnRequest([](const policy::Facts&, const policy::TlsFacts&, RequestHead&) {
    return Suspended::For(policy::AskWait{.message = "", .rule = "", .show_body = 4},
                          [](policy::WaitResult, RequestHead&) { return policy::FakeEngine::Forward(); });
  });
  auto guest = gate.Open();
  size_t asked = 0;
  const auto ask = [&](const std::string& first, const std::string& rest) {
    guest->Send(first);
    gate.Settle();
    guest->Send(rest);
    gate.RunUntil([&] { return gate.waits.begun.size() == asked + 1; });
    gate.waits.Finish(asked, Approval::kApproved);
    return gate.TakeAnswer(*guest);
  };
  const std::string chunked = "POST /x HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n";
  CHECK(ask(Post("hello").substr(0, Post("hello").size() - 3), "llo").ends_with("hello"));
  CHECK(gate.waits.begun[asked].body_start == "hell");
  CHECK(gate.waits.begun[asked++].body_bytes == 5);
  CHECK(Contains(ask(chunked + "3\r\nabc\r\n", "0\r\n\r\n"), "abc"));
  CHECK(gate.waits.begun[asked].body_start == "abc");
  CHECK(gate.waits.begun[asked++].body_bytes == 3);  // Known, as all of it was read.
  CHECK(Contains(ask(chunked + "3\r\nabc\r\n", "3\r\ndef\r\n0\r\n\r\n"), "def"));
  CHECK(gate.waits.begun[asked].body_start == "abcd");
  CHECK_FALSE(gate.waits.begun[asked++].body_bytes.has_value());
  CHECK(StatusOf(ask("GET /x HTTP/1.1\r\nHost: api.test\r\n", "\r\n")) == 200);
  CHECK(gate.waits.begun[asked].body_start == "");
}

TEST_CASE("a hook sees a body that comes in pieces, and it goes on unchanged") {
  TestGate gate;
  std::optional<std::string> seen;
  gate.engine.OnRequest(WithBody(1000, [&](std::optional<std::string> body) {
    seen = std::move(body);
    return policy::FakeEngine::Forward();
  }));
  auto guest = gate.Open();
  const std::string whole = Post("hello world");
  for (size_t cut = whole.size() - 11; cut < whole.size(); ++cut) {
    INFO(cut);
    seen.reset();
    guest->Send(whole.substr(0, cut));
    gate.Settle();
    CHECK_FALSE(seen.has_value());
    guest->Send(whole.substr(cut));
    CHECK(gate.TakeAnswer(*guest).ends_with("hello world"));
    CHECK(seen == "hello world");
  }
  guest->Send("POST /x HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n"
              "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n");
  CHECK(Contains(gate.TakeAnswer(*guest), "hel"));
  CHECK(seen == "hello");
}

TEST_CASE("a body that is longer than a hook asks for goes on whole") {
  TestGate gate;
  int asked = 0;
  gate.engine.OnRequest(WithBody(10, [&](std::optional<std::string> body) {
    CHECK_FALSE(body.has_value());
    ++asked;
    return policy::FakeEngine::Forward();
  }));
  auto guest = gate.Open();
  const std::string body(300'000, 'b');
  guest->Send(Post(body));
  CHECK(gate.TakeAnswer(*guest).ends_with(body));
  guest->Send("POST /x HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n"
              "6\r\nabcdef\r\n");
  gate.Settle();
  guest->Send("6\r\nghijkl\r\n3\r\nmno\r\n0\r\n\r\n");
  const std::string answer = gate.TakeAnswer(*guest);
  CHECK(Contains(answer, "mno"));
  CHECK(asked == 2);
}

TEST_CASE("a hook gives the request another body, which replaces what its head says of the old one") {
  TestGate gate;
  gate.engine.OnRequest(WithBody(100, [&](std::optional<std::string>) {
    RequestVerdict verdict = policy::FakeEngine::Forward();
    verdict.body = "another body";
    return verdict;
  }));
  auto guest = gate.Open();
  guest->Send(Post("old", "Content-Encoding: gzip\r\nContent-Digest: sha-256=:x:\r\nX-Kept: 1\r\n"));
  const std::string answer = gate.TakeAnswer(*guest);
  CHECK(answer.ends_with("another body"));
  CHECK(Contains(answer, "Content-Length: 12\r\n"));
  CHECK(Contains(answer, "X-Kept: 1\r\n"));
  CHECK_FALSE(Contains(answer, "gzip"));
  CHECK_FALSE(Contains(answer, "Content-Digest"));
  // The connection goes on with the next request.
  guest->Send(Post("second"));
  CHECK(gate.TakeAnswer(*guest).ends_with("another body"));
}

TEST_CASE("a client that waits for 100 is told to go on when a hook wants the body, and only once") {
  TestGate gate;
  gate.engine.OnRequest(
      WithBody(100, [&](std::optional<std::string>) { return policy::FakeEngine::Forward(); }));
  auto guest = gate.Open();
  guest->Send("POST /x HTTP/1.1\r\nHost: api.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  gate.RunUntil([&] { return guest->received.ends_with("\r\n\r\n"); });
  CHECK(guest->received == "HTTP/1.1 100 Continue\r\n\r\n");
  guest->received.clear();
  guest->Send("body");
  const std::string answer = gate.TakeAnswer(*guest);
  CHECK(StatusOf(answer) == 200);
  CHECK(answer.ends_with("body"));
}

TEST_CASE("a body that a hook waits for must come in time") {
  TestGate gate;
  gate.engine.OnRequest(
      WithBody(100, [&](std::optional<std::string>) { return policy::FakeEngine::Forward(); }));
  auto guest = gate.Open();
  guest->Send("POST /x HTTP/1.1\r\nHost: api.test\r\nContent-Length: 4\r\n\r\nbo");
  gate.Settle();
  gate.clock.Advance(kRequestBodyTimeout);
  CHECK(StatusOf(gate.TakeAnswer(*guest)) == 408);
  CHECK(gate.origin.connections() == 0);
}

// ---- Answers.

using policy::ResponseVerdict;

class SuspendedAnswer final : public policy::SuspendedResponse {
 public:
  using Then = std::function<ResponseVerdict(policy::WaitResult, ResponseHead&)>;
  SuspendedAnswer(policy::Wait wait, Then then) : wait_(std::move(wait)), then_(std::move(then)) {}
  const policy::Wait& wait() const override { return wait_; }
  ResponseVerdict Resume(policy::WaitResult result, ResponseHead& head) override {
    return then_(std::move(result), head);
  }

 private:
  const policy::Wait wait_;
  const Then then_;
};

ResponseVerdict Pass() {
  ResponseVerdict verdict;
  verdict.action = ResponseVerdict::Action::kForward;
  return verdict;
}

// Reads up to MAX of an answer's body, and sends what CHANGE makes of it.
auto WithAnswer(size_t max, std::function<ResponseVerdict(std::optional<std::string>)> change) {
  return [=](const RequestHead&, ResponseHead&) {
    ResponseVerdict verdict;
    verdict.action = ResponseVerdict::Action::kWait;
    verdict.suspended = std::make_shared<SuspendedAnswer>(
        policy::BodyWait{max}, [=](policy::WaitResult result, ResponseHead&) {
          return change(std::get<policy::ReadBody>(std::move(result)).bytes);
        });
    return verdict;
  };
}

// Answers with HEAD's fields and the BODY, in pieces.
Origin::Handler Answering(std::string fields, std::vector<std::string> pieces) {
  return [=](Origin::Connection& connection) {
    for (;;) {
      const std::string head = connection.ReadHead();
      if (head.empty()) return;
      connection.ReadBody(head);
      connection.Write("HTTP/1.1 200 OK\r\n" + fields + "\r\n");
      for (const std::string& piece : pieces) connection.Write(piece);
    }
  };
}

TEST_CASE("a hook changes an answer's fields, and refuses one") {
  TestGate gate;
  gate.engine.OnResponse([](const RequestHead& request, ResponseHead& response) {
    if (request.path == "/no") {
      ResponseVerdict verdict;
      verdict.refusal = {.reason = Reason::kDeniedByHook,
                         .status = 403,
                         .detail = "not this answer",
                         .rule = "policy.lua:9",
                         .how_to_allow = {}};
      return verdict;
    }
    response.headers.Set("x-by-hook", "yes");
    return Pass();
  });
  auto guest = gate.Open();
  CHECK(Contains(gate.Ask(*guest, Get("/")), "x-by-hook: yes\r\n"));
  const std::string refused = gate.Ask(*guest, Get("/no"));
  CHECK(StatusOf(refused) == 403);
  CHECK(Contains(refused, "not this answer"));
  CHECK(gate.LastRecord().reason == Reason::kDeniedByHook);
  CHECK(Contains(gate.Ask(*guest, Get("/")), "x-by-hook: yes\r\n"));
}

TEST_CASE("a hook sees an answer's body, and it goes on unchanged, or is replaced") {
  std::optional<std::string> seen;
  std::optional<std::string> instead;
  TestGate gate(Answering("Content-Length: 11\r\nETag: \"x\"\r\n", {"hello", " world"}));
  gate.engine.OnResponse(WithAnswer(100, [&](std::optional<std::string> body) {
    seen = std::move(body);
    auto verdict = Pass();
    verdict.body = instead;
    return verdict;
  }));
  auto guest = gate.Open();
  std::string answer = gate.Ask(*guest, Get("/"));
  CHECK(seen == "hello world");
  CHECK(answer.ends_with("\r\n\r\nhello world"));
  CHECK(Contains(answer, "ETag"));
  instead = "another";
  answer = gate.Ask(*guest, Get("/"));
  CHECK(answer.ends_with("\r\n\r\nanother"));
  CHECK(Contains(answer, "Content-Length: 7\r\n"));
  CHECK_FALSE(Contains(answer, "ETag"));
  // An answer to HEAD has none to replace.
  guest->Send("HEAD / HTTP/1.1\r\nHost: api.test\r\n\r\n");
  CHECK(Contains(gate.TakeAnswer(*guest, true), "Content-Length: 11\r\n"));
}

TEST_CASE("an answer that is longer than a hook asks for goes on whole, or is replaced as a whole") {
  const std::string body(400'000, 'b');
  for (const bool replaced : {false, true}) {
    TestGate gate(Answering("Content-Length: " + std::to_string(body.size()) + "\r\n", {body}));
    gate.engine.OnResponse(WithAnswer(10, [&](std::optional<std::string> seen) {
      CHECK_FALSE(seen.has_value());
      auto verdict = Pass();
      if (replaced) verdict.body = "short";
      return verdict;
    }));
    auto guest = gate.Open();
    for (int i = 0; i < 2; ++i) {
      const std::string answer = gate.Ask(*guest, Get("/"));
      CHECK(answer.ends_with(replaced ? "\r\n\r\nshort" : body));
    }
    // What is left of a replaced answer is never taken for the next one.
    CHECK(gate.origin.connections() == (replaced ? 2 : 1));
  }
}

TEST_CASE("an answer that ends while a hook waits for its body is a 502") {
  TestGate gate([](Origin::Connection& connection) {
    connection.ReadHead();
    connection.Write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
  });
  gate.engine.OnResponse(WithAnswer(1000, [](std::optional<std::string>) { return Pass(); }));
  auto guest = gate.Open();
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 502);
}

TEST_CASE("a request that breaks while a hook waits about its answer is refused, and the wait ends") {
  TestGate gate([](Origin::Connection& connection) {
    connection.ReadHead();
    connection.Write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    while (!connection.Read().empty()) {
    }
  });
  gate.engine.OnResponse([](const RequestHead&, ResponseHead&) {
    ResponseVerdict verdict;
    verdict.action = ResponseVerdict::Action::kWait;
    verdict.suspended = std::make_shared<SuspendedAnswer>(
        policy::SleepWait{std::chrono::seconds(1)},
        [](policy::WaitResult, ResponseHead&) { return Pass(); });
    return verdict;
  });
  auto guest = gate.Open();
  guest->Send("POST / HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
  gate.RunUntil([&] { return gate.waits.open() == 1; });
  guest->Send("no chunk\r\n");
  CHECK(StatusOf(gate.TakeAnswer(*guest)) == 400);
  CHECK(gate.waits.open() == 0);
  CHECK(gate.LastRecord().reason == Reason::kBadRequest);
}

TEST_CASE("the rest of a request goes up while a hook waits for its answer's body") {
  TestGate gate([](Origin::Connection& connection) {
    const std::string head = connection.ReadHead();
    connection.Write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
    connection.ReadBody(head);
    connection.Write("done");
  });
  gate.engine.OnResponse(WithAnswer(1000, [](std::optional<std::string>) { return Pass(); }));
  auto guest = gate.Open();
  guest->Send("POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 300000\r\n\r\n" +
              std::string(300'000, 'r'));
  CHECK(gate.TakeAnswer(*guest).ends_with("done"));
}

}  // namespace
}  // namespace sallyport::mitm
