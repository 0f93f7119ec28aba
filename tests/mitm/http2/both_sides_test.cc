#include <catch2/catch.hpp>
#include <string>

#include "tests/mitm/http2/frames.h"
#include "tests/mitm/http2/http2_origin.h"

// Guests and servers that each speak what they will, with a whole gate between them.

namespace sallyport::mitm::http2 {
namespace {

struct BothGate : TestGate {
  BothGate(Origin::Handler handler, const std::string& origin_alpn)
      : TestGate(std::move(handler), &ApiCertificate(), origin_alpn) {}

  std::unique_ptr<GuestClient> Ask(const std::string& alpn, const std::string& request) {
    auto guest = Open({.alpn = alpn}, Flow());
    guest->Send(request);
    return guest;
  }
};

TEST_CASE("a guest that speaks HTTP/2 alone is served by an origin of HTTP/1.1") {
  BothGate gate(Echo, "\x08http/1.1");
  auto guest = gate.Ask("\x02h2", Preface() + Head(1, Asking({{"x-test", "1"}})));
  gate.RunUntil([&] {
    return Contains(guest->received, "GET / HTTP/1.1\r\nHost: api.test\r\nx-test: 1\r\n\r\n");
  });
  guest->CloseWrite();
  gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
  CHECK(gate.LastRecord().allowed);
  CHECK(gate.LastRecord().status == 200);
}

TEST_CASE("a guest and an origin of HTTP/2 are joined") {
  BothGate gate(Http2Origin(), kSpeaksBoth);
  auto guest =
      gate.Ask(kSpeaksBoth, Preface() + Head(1, Asking()) + Head(3, Asking({}, "POST"), 0) +
                                Data(3, "the body", kEndStream));
  gate.RunUntil([&] { return gate.audit.records.size() == 2; });
  CHECK(gate.audit.records[0].status == 200);
  CHECK(gate.audit.records[1].status == 200);
  CHECK(gate.origin.connections() == 1);
  guest->Send(Data(99, "x"));
  gate.RunUntil([&] { return guest->ended(); });
  CHECK(gate.LastRecord().reason == Reason::kBadRequest);
}

TEST_CASE("an interceptor that goes away says GOAWAY") {
  BothGate gate(Echo, "\x08http/1.1");
  auto guest = gate.Ask("\x02h2", Preface() + Head(1, Asking()));
  gate.RunUntil([&] { return Contains(guest->received, "GET / "); });
  const size_t before = guest->received.size();
  gate.interceptor.reset();
  gate.RunUntil([&] { return guest->ended() || guest->broken(); });
  CHECK(guest->ended());
  CHECK(guest->received.substr(before) == Frame(kGoawayFrame, 0, 0, Number32(1) + Number32(0)));
}

}  // namespace
}  // namespace sallyport::mitm::http2
