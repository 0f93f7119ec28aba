#include "mitm/tls_stream.h"

#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "mitm/authority.h"
#include "mitm/guest_tls.h"
#include "mitm/upstream_tls.h"
#include "mitm/upstream_trust.h"
#include "tests/fakes/memory_stream.h"

namespace sallyport::mitm {
namespace {

using Kind = ReadResult::Kind;

/// Both sides of a TLS connection, up, over a stream in memory.
struct Ends {
  explicit Ends(MemoryStream::Options wire = {}) {
    hello.name = *HostName::Parse("api.test");
    client_tls = std::move(*UpstreamTls::Create(std::move(*LoadTrustedRoots({})),
                                                [&] { return authority->trust_anchor().pem; }));
    auto pair = MemoryStream::Make(*loop, wire);
    server_wire = pair.a.get();
    client_wire = pair.b.get();
    server = server_tls->Accept(*loop, std::move(pair.a), "", hello);
    client = client_tls->Connect(*loop, std::move(pair.b), *hello.name, "key", Protocols::kHttp1);
    for (int i = 0; i < 10; ++i) {
      client->Handshake();
      server->Handshake();
    }
    REQUIRE(client->Handshake() == TlsStream::Phase::kOpen);
    REQUIRE(server->Handshake() == TlsStream::Phase::kOpen);
  }

  static std::string Read(Stream& stream, Kind* kind = nullptr) {
    std::string bytes(100'000, '\0');
    const ReadResult result = stream.Read({reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
    if (kind != nullptr) *kind = result.kind;
    bytes.resize(result.bytes);
    return bytes;
  }

  std::unique_ptr<Loop> loop = std::move(*Loop::Create());
  std::unique_ptr<Authority> authority = std::move(*Authority::Create());
  std::unique_ptr<GuestTls> server_tls = std::move(*GuestTls::Create(*authority));
  std::unique_ptr<UpstreamTls> client_tls;
  GuestHello hello;
  Stream* server_wire = nullptr;
  Stream* client_wire = nullptr;
  std::unique_ptr<TlsStream> server;
  std::unique_ptr<TlsStream> client;
};

TEST_CASE("small writes of one turn are one record") {
  Ends ends;
  for (int i = 0; i < 100; ++i) CHECK(ends.client->Write("ten bytes.") == 10);
  CHECK(Ends::Read(*ends.server).empty());
  ends.client->Flush();
  CHECK(Ends::Read(*ends.server).size() == 1000);
}

TEST_CASE("what was written leaves at the end of the turn") {
  Ends ends;
  CHECK(ends.client->Write("hello") == 5);
  const auto tick = ends.loop->Post([] {});
  REQUIRE(ends.loop->RunOnce());
  CHECK(Ends::Read(*ends.server) == "hello");
}

TEST_CASE("an announced end is an end, and a bare one is a break") {
  Ends ends;
  Kind kind = Kind::kWouldBlock;
  CHECK(ends.client->Write("last") == 4);
  SECTION("close_notify") {
    ends.client->CloseWrite();
    CHECK(ends.client->Write("more") == 0);
    CHECK(Ends::Read(*ends.server) == "last");
    Ends::Read(*ends.server, &kind);
    CHECK(kind == Kind::kEnd);
    CHECK(ends.server->Write("answer") == 6);
    ends.server->Flush();
    CHECK(Ends::Read(*ends.client) == "answer");
  }
  SECTION("destruction") {
    ends.client.reset();
    CHECK(Ends::Read(*ends.server) == "last");
    Ends::Read(*ends.server, &kind);
    CHECK(kind == Kind::kEnd);
  }
  SECTION("the stream below just ends") {
    ends.client->Flush();
    ends.client_wire->CloseWrite();
    CHECK(Ends::Read(*ends.server) == "last");
    Ends::Read(*ends.server, &kind);
    CHECK(kind == Kind::kBroken);
  }
  SECTION("abortion") {
    ends.client->Abort();
    Ends::Read(*ends.server, &kind);
    CHECK(kind == Kind::kBroken);
  }
}

TEST_CASE("an alert that comes before its sender encrypts is told like any other") {
  Ends ends;
  auto pair = MemoryStream::Make(*ends.loop, {});
  Stream& wire = *pair.b;
  const auto server = ends.server_tls->Accept(*ends.loop, std::move(pair.a), "", ends.hello);
  const auto client = ends.client_tls->Connect(*ends.loop, std::move(pair.b), *ends.hello.name,
                                               "another key", Protocols::kHttp1);
  REQUIRE(client->Handshake() == TlsStream::Phase::kHandshake);
  REQUIRE(server->Handshake() == TlsStream::Phase::kHandshake);
  for (const char byte : std::string("\x15\x03\x03\x00\x02\x02\x30", 7)) {
    wire.Write({&byte, 1});
    server->Handshake();
  }
  REQUIRE(server->Handshake() == TlsStream::Phase::kFailed);
  CHECK(server->failure().detail == "the peer sent alert 48 (unknown ca)");
  CHECK(server->failure().refuses_certificate());
}

TEST_CASE("a stream below that is full stops the writer, and nothing is lost") {
  Ends ends({.capacity = 40'000, .cut = SIZE_MAX});
  const std::string block(1000, 'b');
  size_t written = 0;
  for (;;) {
    const size_t room = ends.server->Room();
    const size_t taken = ends.server->Write(block);
    CHECK(taken == std::min(room, block.size()));
    written += taken;
    if (taken < block.size()) break;
  }
  CHECK(written > 30'000);
  CHECK(ends.server->Room() == 0);
  size_t read = 0;
  while (read < written) {
    read += Ends::Read(*ends.client).size();
    ends.server->Flush();
  }
  CHECK(read == written);
  CHECK(ends.server->Room() > 0);
}

TEST_CASE("what can't be handed over at the end is seen to be missing") {
  Ends ends({.capacity = 20'000, .cut = SIZE_MAX});
  while (ends.server->Write(std::string(1000, 'b')) == 1000) {
  }
  ends.server.reset();
  Kind kind = Kind::kWouldBlock;
  while (kind == Kind::kWouldBlock || kind == Kind::kBytes) Ends::Read(*ends.client, &kind);
  CHECK(kind == Kind::kBroken);
}

}  // namespace
}  // namespace sallyport::mitm
