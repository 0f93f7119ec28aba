#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

#include "mitm/limits.h"
#include "tests/mitm/http2/frames.h"
#include "tests/mitm/http2/http2_origin.h"
#include "tests/mitm/pipeline.h"

// Conversations: each side waits for the other's message before it goes on, and messages end as
// values and placeholders begin. A byte that is held back ends the conversation.

namespace sallyport::mitm {
namespace {

/// Ends of messages that may begin a rendering of kValue: as it is, in hex, in base64, in JSON.
std::vector<std::string> Endings() {
  std::vector<std::string> endings;
  for (size_t size = 1; size <= 11; ++size) endings.push_back(kValue.substr(0, size));
  for (const char* end : {"6", "67687", "Z", "Z2hwX3", "ocF9", "n", "ghp\\", "ghp%5", "ghp&#9"}) {
    endings.emplace_back(end);
  }
  return endings;
}

std::vector<std::string> Messages() {
  std::vector<std::string> messages;
  for (const std::string& end : Endings()) {
    messages.push_back("data: message " + std::to_string(messages.size()) + " " + end);
  }
  return messages;
}

std::string Chunk(const std::string& piece) {
  const std::string all = Chunks(piece, piece.size());
  return all.substr(0, all.size() - std::string("0\r\n\r\n").size());
}

TEST_CASE("no message of a stream waits for the next, however it ends") {
  const std::vector<std::string> messages = Messages();
  const std::string type = GENERATE("", "Content-Type: text/event-stream\r\n",
                                    "Content-Type: application/octet-stream\r\n");
  CAPTURE(type);
  TestGate gate([&](Origin::Connection& connection) {
    connection.ReadHead();
    connection.Write("HTTP/1.1 200 OK\r\n" + type + "Transfer-Encoding: chunked\r\n\r\n");
    for (const std::string& message : messages) {
      connection.Write(Chunk(message));
      if (connection.ReadBytes(Chunk("go on").size()).empty()) return;
    }
    connection.Write(Chunk(kValue) + "0\r\n\r\n");
    connection.ReadHead();
  });
  REQUIRE(gate.secrets.Add(Spec(), std::move(*secrets::Secret::Create(kValue))));
  auto guest = gate.Open();
  guest->Send("POST / HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n");
  std::string all;
  for (const std::string& message : messages) {
    all += message;
    gate.RunUntil([&] { return BodySoFar(guest->received).size() >= all.size(); });
    REQUIRE(BodySoFar(guest->received) == all);
    guest->Send(Chunk("go on"));
  }
  guest->Send("0\r\n\r\n");
  CHECK(BodyOf(gate.TakeAnswer(*guest)) == all + *gate.secrets.PlaceholderOf("TOKEN"));
}

TEST_CASE("a gRPC call of both directions does not wait for bytes that may begin a value") {
  using namespace http2;
  const std::vector<std::string> messages = Messages();
  std::vector<std::string> replies;  // End as a placeholder begins that may go nowhere.
  TestGate gate(
      [&](Origin::Connection& connection) {
        std::string got = connection.Read();
        connection.Write(Frame(kSettingsFrame, 0, 0, "") +
                         Head(1, {{":status", "200"}, {"content-type", "application/grpc"}}, 4));
        for (size_t i = 0; i < messages.size(); ++i) {
          connection.Write(Data(1, messages[i]));
          while (got.find(replies[i]) == std::string::npos) {
            const std::string more = connection.Read();
            if (more.empty()) return;
            got += more;
          }
        }
        connection.Write(Data(1, kValue) + Head(1, {{"grpc-status", "0"}}, 5));
        while (!connection.Read().empty()) {
        }
      },
      &ApiCertificate(), kSpeaksBoth);
  REQUIRE(gate.secrets.Add(Spec(), std::move(*secrets::Secret::Create(kValue))));
  SecretSpec elsewhere = Spec();
  elsewhere.name = "ELSEWHERE";
  elsewhere.hosts = {*HostPattern::Parse("other.test")};
  elsewhere.on_violation = SecretSpec::OnViolation::kBlock;
  REQUIRE(gate.secrets.Add(elsewhere, std::move(*secrets::Secret::Create("gho_" + kValue))));
  const std::string placeholder = *gate.secrets.PlaceholderOf("ELSEWHERE");
  for (size_t i = 0; i < messages.size(); ++i) {
    replies.push_back("reply " + std::to_string(i) + " " + placeholder.substr(0, i % 11 + 1));
  }
  auto guest = gate.Open({.alpn = kSpeaksBoth}, gate.Flow());
  guest->Send(Preface() +
              Head(1, Asking({{"content-type", "application/grpc"}, {"te", "trailers"}}, "POST"), 4));
  for (size_t i = 0; i < messages.size(); ++i) {
    gate.RunUntil([&] { return Contains(guest->received, messages[i]); });
    guest->Send(Data(1, replies[i]));
  }
  gate.RunUntil([&] { return gate.audit.records.size() == 1; });
  CHECK(Contains(guest->received, gate.secrets.PlaceholderOf("TOKEN")->substr(0, kValue.size())));
  CHECK(gate.LastRecord().status == 200);
}

// --- Upwards -------------------------------------------------------------------------------------

/// A server that says how much it has of each body, whenever something comes.
struct Uploads : TestGate {
  Uploads()
      : TestGate([](Origin::Connection& connection) {
          connection.ReadHead();
          connection.Write("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n");
          for (std::string got = connection.Read(); !got.empty(); got = connection.Read()) {
            connection.Write(Chunk("[" + got + "]"));
          }
        }) {
    SecretSpec spec = Spec();
    spec.body = SecretSpec::Body::kText;
    spec.scrub = false;
    REQUIRE(secrets.Add(spec, std::move(*secrets::Secret::Create(kValue))));
    placeholder = *secrets.PlaceholderOf("TOKEN");
    guest = Open();
    guest->Send("POST / HTTP/1.1\r\nHost: api.test\r\nContent-Type: text/plain\r\n"
                "Transfer-Encoding: chunked\r\n\r\n");
    RunUntil([&] { return Got("\r\n\r\n"); });
  }
  bool Got(const std::string& text) { return Contains(guest->received, text); }

  std::string placeholder;
  std::unique_ptr<GuestClient> guest;
};

TEST_CASE("what may begin a placeholder goes up once its body has paused") {
  Uploads gate;
  for (const size_t size : {size_t{1}, size_t{4}, size_t{11}}) {
    const std::string message = "message " + std::to_string(size) + " ";
    gate.guest->Send(Chunk(message + gate.placeholder.substr(0, size)));
    gate.RunUntil([&] { return gate.Got(message); });
    gate.clock.Advance(kHeldPlaceholderTimeout - std::chrono::milliseconds(1));
    gate.Settle();
    CHECK_FALSE(gate.Got(Chunk(gate.placeholder.substr(0, size))));
    gate.clock.Advance(std::chrono::milliseconds(1));
    gate.RunUntil([&] { return gate.Got(Chunk(gate.placeholder.substr(0, size))); });
  }
  // Behind a message that was held as a whole, too.
  gate.guest->Send(Chunk("!"));
  gate.RunUntil([&] { return gate.Got("!"); });
  gate.guest->Send(Chunk("gh"));
  gate.Settle();
  gate.clock.Advance(kHeldPlaceholderTimeout);
  gate.RunUntil([&] { return gate.Got(Chunk("gh") + "]"); });
}

TEST_CASE("a placeholder in two pieces is put in, unless so long passes between them") {
  Uploads gate;
  gate.guest->Send(Chunk("one " + gate.placeholder.substr(0, 7)));
  gate.RunUntil([&] { return gate.Got("one "); });
  gate.clock.Advance(kHeldPlaceholderTimeout / 2);
  gate.guest->Send(Chunk(gate.placeholder.substr(7) + " two"));
  gate.RunUntil([&] { return gate.Got(kValue + " two"); });
  // With its anchor it can be nothing else, and waits.
  gate.guest->Send(Chunk("three " + gate.placeholder.substr(0, 12)));
  gate.RunUntil([&] { return gate.Got("three "); });
  gate.clock.Advance(2 * kHeldPlaceholderTimeout);
  gate.Settle();
  gate.guest->Send(Chunk(gate.placeholder.substr(12) + " four"));
  gate.RunUntil([&] { return gate.Got(kValue + " four"); });
  gate.guest->Send(Chunk("five " + gate.placeholder.substr(0, 7)));
  gate.RunUntil([&] { return gate.Got("five "); });
  gate.clock.Advance(kHeldPlaceholderTimeout);
  gate.RunUntil([&] { return gate.Got(Chunk(gate.placeholder.substr(0, 7))); });
  gate.guest->Send(Chunk(gate.placeholder.substr(7)));
  gate.RunUntil([&] { return gate.guest->broken(); });
  CHECK(gate.LastRecord().reason == Reason::kSecretWrongPlace);
  CHECK(gate.LastRecord().detail ==
        "The placeholder of secret TOKEN came in pieces, with a pause in it that was too long.");
}

TEST_CASE("an exchange whose body pauses with bytes held can be destroyed") {
  Uploads gate;
  gate.guest->Send(Chunk("gone " + gate.placeholder.substr(0, 7)));
  gate.RunUntil([&] { return gate.Got("gone "); });
  gate.interceptor.reset();
  gate.clock.Advance(kHeldPlaceholderTimeout);
  gate.Settle();
  CHECK(gate.audit.records.size() == 1);
}

}  // namespace
}  // namespace sallyport::mitm
