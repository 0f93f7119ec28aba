#include <catch2/catch.hpp>
#include <string>

#include "tests/mitm/http2/client.h"
#include "tests/mitm/http2/http2_origin.h"
#include "tests/mitm/pipeline.h"

// Trailers of requests, from either version of HTTP to either.

namespace sallyport::mitm {
namespace {

/// Answers a request with all the bytes that it was made of, once one of ENDINGS is there.
Origin::Handler Mirror() {
  return [](Origin::Connection& connection) {
    std::string got;
    for (std::string more = connection.Read(); !more.empty(); more = connection.Read()) {
      got += more;
      if (!got.ends_with("\r\n\r\n") || !Contains(got, "\r\n0\r\n")) continue;
      connection.Answer("<" + got + ">");
      got.clear();
    }
  };
}

std::string Upload(const std::string& trailers, const std::string& fields = "") {
  return "POST / HTTP/1.1\r\nHost: api.test\r\n" + fields + "Transfer-Encoding: chunked\r\n\r\n" +
         "2\r\nhi\r\n0\r\n" + trailers + "\r\n";
}

TEST_CASE("trailers go from HTTP/1.1 to HTTP/1.1, announced as they were, however they are cut") {
  TestGate gate(Mirror());
  auto guest = gate.Open();
  const std::string request = Upload("X-Sum: 1\r\nB:\r\nAuthorization: x\r\n", "Trailer: x-sum\r\n");
  for (size_t cut = request.size() - 50; cut <= request.size(); ++cut) {
    guest->Send(request.substr(0, cut));
    REQUIRE(gate.loop->RunOnce());
    guest->Send(request.substr(cut));
    const std::string answer = gate.TakeAnswer(*guest);
    REQUIRE(Contains(answer, "\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n"));
    REQUIRE(Contains(answer, "\r\n0\r\nX-Sum: 1\r\nB: \r\n\r\n>"));
  }
}

TEST_CASE("trailers go from HTTP/2 to HTTP/2, and to HTTP/1.1") {
  using namespace http2;
  std::string got;
  const bool modern = GENERATE(true, false);
  CAPTURE(modern);
  TestGate gate(
      [&](Origin::Connection& connection) {
        if (connection.protocol() != "h2") return Mirror()(connection);
        Http2Server server({}, [](Http2Server& it, Http2Server::Request& request) {
          std::string text;
          for (const auto& field : request.fields) {
            text += field.name + "=" + field.value + (field.never_indexed ? "!" : "") + ";";
          }
          it.Answer(request.id, {{":status", "200"}}, &text);
        });
        for (std::string bytes = connection.Read(); !bytes.empty(); bytes = connection.Read()) {
          if (!server.Feed(bytes)) return;
          connection.Write(server.Take());
        }
      },
      &ApiCertificate(), modern ? kSpeaksBoth : kSpeaksHttp1);
  auto guest = gate.Open({.alpn = "\x02h2"}, gate.Flow());
  guest->Send(Preface() + Head(1, Asking({{"trailer", "x-sum"}}, "POST"), 0) + Data(1, "hi"));
  gate.Settle();
  guest->Send(Head(1, {{"x-sum", "1"}, {"x-more", ""}, {"authorization", "x"}}));
  gate.RunUntil([&] { return gate.audit.records.size() == 1; });
  CHECK(gate.LastRecord().status == 200);
  if (modern) {
    CHECK(Contains(guest->received, "trailer=x-sum!;"));
    CHECK(Contains(guest->received, "x-sum=1!;x-more=!;"));
  } else {
    CHECK(Contains(guest->received, "\r\ntrailer: x-sum\r\n"));
    CHECK(Contains(guest->received, "\r\n0\r\nx-sum: 1\r\nx-more: \r\n\r\n>"));
  }
  CHECK_FALSE(Contains(guest->received, "authorization"));
}

struct SecretGate : TestGate {
  explicit SecretGate(SecretSpec spec = Spec()) : TestGate(Mirror()) {
    REQUIRE(secrets.Add(std::move(spec), std::move(*secrets::Secret::Create(kValue))));
    placeholder = *secrets.PlaceholderOf("TOKEN");
    guest = Open();
  }
  std::string Send(const std::string& trailers, const std::string& fields = "") {
    return Ask(*guest, Upload(trailers, fields));
  }
  std::string placeholder;
  std::unique_ptr<GuestClient> guest;
};

TEST_CASE("no value goes into trailers") {
  SecretGate gate;
  const std::string answer = gate.Send("X-Note: " + gate.placeholder + "\r\n");
  CHECK(Contains(answer, "\r\n0\r\nX-Note: " + gate.placeholder + "\r\n\r\n"));
  CHECK(gate.LastRecord().secrets.empty());
  const std::string refused = gate.Send("Authorization: Bearer " + gate.placeholder + "\r\n");
  CHECK(StatusOf(refused) == 403);
  CHECK(gate.LastRecord().reason == Reason::kSecretWrongPlace);
  CHECK(gate.LastRecord().detail == "The placeholder of secret TOKEN may not stand in trailers.");
}

TEST_CASE("a placeholder in trailers does what on_violation says") {
  SecretSpec spec = Spec();
  spec.on_violation = SecretSpec::OnViolation::kTerminate;
  SecretGate gate(spec);
  CHECK(StatusOf(gate.Send("X-Note: " + gate.placeholder + "\r\n")) == 403);
  CHECK(gate.terminated.size() == 1);
}

TEST_CASE("a credential of the guest's own may not go into trailers to a host with a secret") {
  {
    SecretGate gate;
    CHECK(StatusOf(gate.Send("X-Api-Key: 0123456789abcdef0123\r\n")) == 403);
    CHECK(gate.LastRecord().reason == Reason::kForeignCredential);
  }
  {
    SecretGate gate;
    CHECK(StatusOf(gate.Send("Authorization: Basic dTpwYXNzd29yZC1vZi1taW5l\r\n")) == 403);
  }
  SecretSpec spec = Spec();
  spec.foreign = SecretSpec::Foreign::kStrip;
  SecretGate strips(spec);
  CHECK(Contains(strips.Send("X-Api-Key: 0123456789abcdef0123\r\nA: b\r\n"),
                 "\r\n0\r\nA: b\r\n\r\n"));
}

TEST_CASE("a digest behind a body that values may be put into is not passed on") {
  SecretSpec spec = Spec();
  spec.body = SecretSpec::Body::kText;
  SecretGate gate(spec);
  CHECK(Contains(gate.Send("Content-Digest: x\r\nA: b\r\n", "Content-Type: text/plain\r\n"),
                 "\r\n0\r\nA: b\r\n\r\n"));
  CHECK(Contains(gate.Send("Content-Digest: x\r\nA: b\r\n"),
                 "\r\n0\r\nContent-Digest: x\r\nA: b\r\n\r\n"));
}

}  // namespace
}  // namespace sallyport::mitm
