#include "mitm/request_body.h"

#include <catch2/catch.hpp>
#include <string>
#include <utility>

#include "mitm/limits.h"
#include "tests/mitm/pipeline.h"

namespace sallyport::mitm {
namespace {

using content::Coding;
using content::Encode;

SecretSpec BodySpec(SecretSpec::Body body = SecretSpec::Body::kJson) {
  SecretSpec spec = Spec();
  spec.body = body;
  return spec;
}

std::string Post(const std::string& body, const std::string& fields = "",
                 const std::string& type = "application/json") {
  return "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Type: " + type + "\r\n" + fields +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

struct UploadGate : PipelineGate {
  explicit UploadGate(SecretSpec spec = BodySpec(), std::string value = kValue)
      : PipelineGate(std::move(spec), std::move(value)) {
    answer = WithLength("", "ok");
  }
  std::string Json(const std::string& token) { return "{\"token\": \"" + token + "\"}"; }
};

TEST_CASE("a placeholder in a body becomes its value, and the length stays right") {
  for (const std::string& value : {kValue, std::string("short123"), kValue + kValue}) {
    UploadGate gate(BodySpec(), value);
    CHECK(StatusOf(gate.Ask(*gate.guest, Post(gate.Json(gate.placeholder)))) == 200);
    CHECK(gate.body() == gate.Json(value));
    CHECK(Contains(gate.head(), "Content-Length: " + std::to_string(gate.body().size())));
    CHECK(gate.LastRecord().secrets == std::vector<std::string>{"TOKEN"});
  }
}

TEST_CASE("a body that comes in pieces is put together for its length") {
  UploadGate gate(BodySpec(), "short123");
  const std::string request = Post(gate.Json(gate.placeholder));
  for (size_t cut = 0; cut < request.size(); cut += 5) {
    gate.guest->Send(request.substr(0, cut));
    REQUIRE(gate.loop->RunOnce());
    gate.guest->Send(request.substr(cut));
    CHECK(StatusOf(gate.TakeAnswer(*gate.guest)) == 200);
    CHECK(gate.body() == gate.Json("short123"));
  }
}

TEST_CASE("a secret that is revoked before its request is sent refuses it") {
  UploadGate gate(BodySpec(), "short123");  // The head waits for the body's length.
  const std::string request =
      Post(gate.Json("none"), "Authorization: Bearer " + gate.placeholder + "\r\n");
  gate.guest->Send(request.substr(0, request.size() - 3));
  gate.RunUntil([&] { return gate.engine.asked == 1; });
  SECTION("while the server is connected to") {}
  SECTION("while the body is put together") {
    gate.RunUntil([&] { return gate.origin.connections() == 1; });
    for (int i = 0; i < 100; ++i) {
      const auto tick = gate.loop->Post([] {});
      REQUIRE(gate.loop->RunOnce());
    }
  }
  REQUIRE(gate.secrets.Revoke("TOKEN"));
  gate.guest->Send(request.substr(request.size() - 3));
  const std::string answer = gate.TakeAnswer(*gate.guest);
  CHECK(StatusOf(answer) == 403);
  CHECK(Contains(answer, "secret_unavailable"));
  CHECK(gate.requests() == 0);
}

TEST_CASE("a large body whose length may change is sent in chunks") {
  UploadGate gate(BodySpec(), "short123");
  std::string padding = Filler(kMaxBufferedBody + 1000);
  padding = Replaced(padding, "\n", " ");
  const std::string body = "{\"a\": \"" + padding + "\", \"t\": \"" + gate.placeholder + "\"}";
  CHECK(StatusOf(gate.Ask(*gate.guest, Post(body))) == 200);
  CHECK(gate.body() == Replaced(body, gate.placeholder, "short123"));
  CHECK(Contains(gate.head(), "Transfer-Encoding: chunked"));
  CHECK_FALSE(Contains(gate.head(), "Content-Length"));
}

TEST_CASE("a large body whose length can't change keeps it") {
  UploadGate gate;
  const std::string body = "{\"a\": \"" + std::string(kMaxBufferedBody, 'a') + "\", \"t\": \"" +
                           gate.placeholder + "\"}";
  CHECK(StatusOf(gate.Ask(*gate.guest, Post(body))) == 200);
  CHECK(gate.body() == Replaced(body, gate.placeholder, kValue));
  CHECK(Contains(gate.head(), "Content-Length: " + std::to_string(body.size())));
}

TEST_CASE("a chunked body stays one") {
  UploadGate gate(BodySpec(), "short123");
  const std::string body = gate.Json(gate.placeholder);
  for (const size_t size : {size_t{1}, size_t{13}, size_t{1000}}) {
    const std::string request =
        "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\n" +
        Chunks(body, size);
    CHECK(StatusOf(gate.Ask(*gate.guest, request)) == 200);
    CHECK(gate.body() == gate.Json("short123"));
    CHECK(Contains(gate.head(), "Transfer-Encoding: chunked"));
  }
}

TEST_CASE("a coded body is decoded for it, and sent without its coding") {
  UploadGate gate;
  for (const Coding coding : kCodings) {
    const std::string name(content::ToString(coding));
    const std::string coded = Encode(coding, gate.Json(gate.placeholder));
    const std::string fields = "Content-Encoding: " + name + "\r\nContent-Digest: x\r\n";
    CHECK(StatusOf(gate.Ask(*gate.guest, Post(coded, fields))) == 200);
    CHECK(gate.body() == gate.Json(kValue));
    CHECK(Contains(gate.head(), "Content-Length: " + std::to_string(gate.body().size())));
    CHECK_FALSE(Contains(gate.head(), "Content-Encoding"));
    CHECK_FALSE(Contains(gate.head(), "Content-Digest"));
    for (const size_t size : {size_t{1}, size_t{7}, size_t{1000}}) {
      const std::string request =
          "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\n" + fields +
          "Transfer-Encoding: chunked\r\n\r\n" + Chunks(coded, size);
      CHECK(StatusOf(gate.Ask(*gate.guest, request)) == 200);
      CHECK(gate.body() == gate.Json(kValue));
      CHECK_FALSE(Contains(gate.head(), "Content-Encoding"));
    }
  }
  // Small as it comes, large as it goes.
  std::string text = "{\"a\": \"" + std::string(2 * kMaxBufferedBody, 'a') + "\"}";
  const std::string coded = Encode(Coding::kGzip, text);
  CHECK(StatusOf(gate.Ask(*gate.guest, Post(coded, "Content-Encoding: gzip\r\n"))) == 200);
  CHECK(gate.body() == text);
  CHECK(Contains(gate.head(), "Transfer-Encoding: chunked"));
}

TEST_CASE("a body in an unknown coding is passed on as it is, and the log says so") {
  UploadGate gate;
  const std::string body = "(((" + gate.placeholder + ")))";
  CHECK(StatusOf(gate.Ask(*gate.guest, Post(body, "Content-Encoding: compress\r\n"))) == 200);
  CHECK(gate.body() == body);
  CHECK(Contains(gate.head(), "Content-Encoding: compress\r\n"));
  CHECK(gate.LastRecord().allowed);
  CHECK(gate.LastRecord().detail ==
        "the body was not searched for placeholders: its content coding is compress");
}

TEST_CASE("a coded body is passed on untouched where no secret asks for bodies") {
  UploadGate gate(Spec());
  const std::string coded = Encode(Coding::kGzip, "0032want " + gate.placeholder);
  CHECK(StatusOf(gate.Ask(*gate.guest, Post(coded, "Content-Encoding: gzip\r\n",
                                            "application/x-git-upload-pack-request"))) == 200);
  CHECK(gate.body() == coded);
  CHECK(Contains(gate.head(), "Content-Encoding: gzip\r\n"));
  CHECK(gate.LastRecord().detail.empty());
}

TEST_CASE("a body that is not what its coding says is a bad request, and does not arrive") {
  UploadGate gate;
  const std::string coded = Encode(Coding::kGzip, gate.Json("x"));
  const std::string answer =
      gate.Ask(*gate.guest, Post(coded.substr(0, coded.size() - 2), "Content-Encoding: gzip\r\n"));
  CHECK(StatusOf(answer) == 400);
  CHECK(Contains(answer, "the request's body: gzip: it is cut off"));
  CHECK(gate.requests() == 0);
}

TEST_CASE("a bomb in a request is refused at its bound") {
  UploadGate gate;
  const std::string bomb = Encode(Coding::kGzip, std::string(50'000'000, ' '));
  const std::string answer = gate.Ask(*gate.guest, Post(bomb, "Content-Encoding: gzip\r\n"));
  CHECK(StatusOf(answer) == 413);
  CHECK(Contains(answer, "413 Content Too Large"));
  CHECK(gate.LastRecord().reason == Reason::kLimit);
  CHECK(gate.origin.received() < 5'000'000);
}

TEST_CASE("a client that waits to be told to go on is told, and its body is put together") {
  UploadGate gate(BodySpec(), "short123");
  const std::string body = gate.Json(gate.placeholder);
  gate.guest->Send(Post(body, "Expect: 100-continue\r\n")
                       .substr(0, Post(body, "Expect: 100-continue\r\n").size() - body.size()));
  CHECK(StatusOf(gate.TakeAnswer(*gate.guest)) == 100);
  CHECK(gate.requests() == 0);
  gate.guest->Send(body);
  CHECK(StatusOf(gate.TakeAnswer(*gate.guest)) == 200);
  CHECK(gate.body() == gate.Json("short123"));
}

TEST_CASE("a guest that leaves in the middle of a body that is put together leaves nothing") {
  UploadGate gate(BodySpec(), "short123");
  const std::string request = Post(gate.Json(gate.placeholder));
  gate.guest->Send(request.substr(0, request.size() - 5));
  gate.RunUntil([&] { return gate.origin.connections() == 1; });
  gate.guest->Abort();
  gate.RunUntil([&] { return !gate.audit.records.empty(); });
  CHECK(gate.requests() == 0);
  CHECK(gate.interceptor->connections() == 0);
}

TEST_CASE("a placeholder in a body where it may not stand is refused before the request arrives") {
  SecretSpec spec = BodySpec(SecretSpec::Body::kForm);
  spec.on_violation = SecretSpec::OnViolation::kBlock;
  UploadGate gate(spec);
  const std::string answer = gate.Ask(*gate.guest, Post(gate.Json(gate.placeholder)));
  CHECK(StatusOf(answer) == 403);
  CHECK(Contains(answer, "urn:sallyport:secret_wrong_place"));
  CHECK(gate.requests() == 0);
  CHECK(gate.terminated.empty());
}

TEST_CASE("a placeholder in a body that ends the sandbox does so") {
  SecretSpec spec = BodySpec(SecretSpec::Body::kForm);
  spec.on_violation = SecretSpec::OnViolation::kTerminate;
  UploadGate gate(spec);
  CHECK(StatusOf(gate.Ask(*gate.guest, Post(gate.Json(gate.placeholder)))) == 403);
  gate.RunUntil([&] { return !gate.terminated.empty(); });
  CHECK(gate.terminated.size() == 1);
}

}  // namespace
}  // namespace sallyport::mitm
