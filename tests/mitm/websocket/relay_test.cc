#include "mitm/websocket/relay.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <mutex>
#include <string>

#include "mitm/limits.h"
#include "mitm/websocket/handshake.h"
#include "tests/mitm/harness.h"
#include "tests/mitm/websocket/frames.h"

// WebSockets through the whole interceptor.

namespace sallyport::mitm {
namespace {

using websocket::AcceptOf;
using websocket::ClientFrame;
using websocket::CloseCode;
using websocket::Fin;
using websocket::Messages;
using websocket::Opcode;
using websocket::Sender;
using websocket::ServerFrame;

constexpr const char* kKey = "dGhlIHNhbXBsZSBub25jZQ==";
constexpr const char* kAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
constexpr const char* kValue = "tok_realrealrealrealrealrealrealreal0000";

std::string Ask(const std::string& fields = "") {
  return Get("/ws", std::string("Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
                                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ") +
                        kKey + "\r\n" + fields);
}

std::string FieldOf(const std::string& head, const std::string& name) {
  const size_t at = head.find("\r\n" + name + ": ");
  if (at == std::string::npos) return {};
  const size_t begin = at + name.size() + 4;
  return head.substr(begin, head.find("\r\n", begin) - begin);
}

std::string Agree(const std::string& head, const std::string& fields = "") {
  return "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
         "Sec-WebSocket-Accept: " +
         AcceptOf(FieldOf(head, "Sec-WebSocket-Key")) + "\r\n" + fields + "\r\n";
}

/// Agrees, and then sends every byte back, as a server's frames where WHOLE frames come.
void EchoBytes(Origin::Connection& connection) {
  connection.Write(Agree(connection.ReadHead()));
  for (std::string bytes = connection.Read(); !bytes.empty(); bytes = connection.Read()) {
    connection.Write(bytes);
  }
}

/// Agrees, tells in a text message of the head it read, and echoes messages as one line each.
void EchoMessages(Origin::Connection& connection) {
  const std::string head = connection.ReadHead();
  connection.Write(Agree(head) + ServerFrame(Opcode::kText, head));
  Messages messages(Sender::kClient);
  for (std::string bytes = connection.Read(); !bytes.empty(); bytes = connection.Read()) {
    messages.Feed(bytes);
    const size_t end = messages.text.rfind('\n');
    if (end == std::string::npos) continue;
    connection.Write(ServerFrame(Opcode::kText, messages.text.substr(0, end + 1)));
    if (Contains(messages.text, "close ")) {
      return connection.Write(ServerFrame(Opcode::kClose, CloseCode(1000)));
    }
    messages.text.clear();
  }
}

struct SecretGate : TestGate {
  explicit SecretGate(Origin::Handler handler, bool scrub,
                      SecretSpec::Body body = SecretSpec::Body::kText,
                      const std::string& host = "api.test")
      : TestGate(std::move(handler)) {
    SecretSpec spec;
    spec.name = "TOKEN";
    spec.hosts = {*HostPattern::Parse(host)};
    spec.scrub = scrub;
    spec.body = body;
    REQUIRE(secrets.Add(std::move(spec), std::move(*secrets::Secret::Create(kValue))));
    placeholder = *secrets.PlaceholderOf("TOKEN");
  }
  std::string placeholder;
};

/// Takes the 101 off what GUEST received.
std::string TakeSwitch(TestGate& gate, GuestClient& guest) {
  const std::string head = gate.TakeAnswer(guest);
  REQUIRE(StatusOf(head) == 101);
  return head;
}

/// Waits until what GUEST received, as a server's messages, has PART in it.
std::string Until(TestGate& gate, GuestClient& guest, const std::string& part) {
  std::string text;
  gate.RunUntil([&] {
    Messages messages(Sender::kServer);
    messages.Feed(guest.received);
    text = messages.text;
    return Contains(text, part);
  });
  return text;
}

TEST_CASE("a WebSocket that is quiet for too long is closed on both sides") {
  for (const bool frames : {false, true}) {
    std::atomic<bool> over{false};
    std::mutex mutex;
    std::string arrived;
    SecretGate gate(
        [&](Origin::Connection& connection) {
          connection.Write(Agree(connection.ReadHead()) + ServerFrame(Opcode::kPing, "hi"));
          for (std::string more = connection.Read(); !more.empty(); more = connection.Read()) {
            const std::lock_guard lock(mutex);
            arrived += more;
          }
          over = true;
        },
        frames, frames ? SecretSpec::Body::kText : SecretSpec::Body::kNone);
    auto guest = gate.Open();
    guest->Send(Ask());
    TakeSwitch(gate, *guest);
    gate.RunUntil([&] { return !guest->received.empty(); });
    gate.clock.Advance(kResponseBodyTimeout / 2);
    guest->Send(ClientFrame(Opcode::kPong, "hi"));
    gate.RunUntil([&] {
      const std::lock_guard lock(mutex);
      return !arrived.empty();
    });
    gate.Pass(kResponseBodyTimeout, [&] { return guest->ended(); });
    gate.RunUntil([&] { return over.load(); });
    const std::string goodbye = CloseCode(1001);
    CHECK(guest->received.ends_with(ServerFrame(Opcode::kClose, goodbye)) == frames);
    Messages up(Sender::kClient);
    up.Feed(arrived);
    CHECK(Contains(up.text, "close " + goodbye) == frames);
    REQUIRE(gate.audit.records.size() == 1);
    CHECK(gate.LastRecord().reason == Reason::kUpstreamTimeout);
    CHECK(gate.LastRecord().detail == "nothing was sent on the WebSocket");
    gate.Pass(kDrainTimeout, [&] { return gate.interceptor->connections() == 0; });
  }
}

TEST_CASE("without secrets a WebSocket's bytes pass as they are, both ways") {
  TestGate gate(EchoBytes);
  auto guest = gate.Open();
  guest->Send(Ask());
  const std::string head = TakeSwitch(gate, *guest);
  CHECK(FieldOf(head, "Upgrade") == "websocket");
  CHECK(FieldOf(head, "Connection") == "Upgrade");
  CHECK(FieldOf(head, "Sec-WebSocket-Accept") == kAccept);
  std::string sent;
  for (int i = 0; i < 300'000; ++i) sent.push_back(static_cast<char>(i * 7));
  guest->Send(sent);
  gate.RunUntil([&] { return guest->received.size() == sent.size(); });
  CHECK(guest->received == sent);
  CHECK(gate.audit.records.empty());
  guest->CloseWrite();
  gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
  CHECK(guest->ended());
  REQUIRE(gate.audit.records.size() == 1);
  CHECK(gate.LastRecord().status == 101);
  CHECK(gate.LastRecord().allowed);
  CHECK(gate.LastRecord().bytes_up >= sent.size());
  CHECK(gate.LastRecord().bytes_down >= sent.size());
}

TEST_CASE("the server is asked with a key of the gate's, and the policy sees the upgrade") {
  std::string seen;
  TestGate gate(EchoMessages);
  gate.engine.OnRequest([&](const policy::Facts&, const policy::TlsFacts&, RequestHead& head) {
    seen = head.method + " " + *head.headers.Find("upgrade");
    return policy::FakeEngine::Forward();
  });
  auto guest = gate.Open();
  guest->Send(Ask("Sec-WebSocket-Extensions: permessage-deflate\r\n"));
  TakeSwitch(gate, *guest);
  const std::string head = Until(gate, *guest, "\r\n\r\n");
  CHECK(seen == "GET websocket");
  CHECK(Contains(head, "Connection: Upgrade\r\n"));
  CHECK(Contains(head, "pgrade: websocket\r\n"));
  CHECK_FALSE(Contains(head, kKey));
  CHECK(Contains(head, "Sec-WebSocket-Extensions: permessage-deflate"));
}

TEST_CASE("nothing of the guest's frames goes upstream before the server has agreed") {
  std::string early;
  TestGate gate([&](Origin::Connection& connection) {
    const std::string head = connection.ReadHead();
    early = head.substr(head.find("\r\n\r\n") + 4);
    connection.Write("HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno");
    early += connection.Read();
  });
  auto guest = gate.Open();
  guest->Send(Ask() + ClientFrame(Opcode::kText, "glued"));
  CHECK(gate.TakeAnswer(*guest).ends_with("no"));
  // What follows is no request, and the guest is told so; the origin never saw it.
  CHECK(StatusOf(gate.TakeAnswer(*guest)) == 400);
  guest->CloseWrite();
  gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
  CHECK(early.empty());
}

TEST_CASE("frames glued behind the request reach a server that agrees, and its own the guest") {
  TestGate gate([](Origin::Connection& connection) {
    const std::string head = connection.ReadHead();
    connection.Write(Agree(head) + ServerFrame(Opcode::kText, "glued too"));
    const std::string sent = connection.ReadBytes(ClientFrame(Opcode::kText, "glued").size());
    connection.Write(ServerFrame(Opcode::kText, websocket::Say(Sender::kClient, {sent})));
  });
  auto guest = gate.Open();
  guest->Send(Ask() + ClientFrame(Opcode::kText, "glued"));
  TakeSwitch(gate, *guest);
  CHECK(Until(gate, *guest, "text text glued") == "text glued too\ntext text glued\n\n");
}

TEST_CASE("a server that refuses answers as it likes, and the connection goes on") {
  TestGate gate([](Origin::Connection& connection) {
    connection.ReadHead();
    connection.Write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    connection.ReadHead();
    connection.Answer("next");
  });
  auto guest = gate.Open();
  CHECK(StatusOf(gate.Ask(*guest, Ask())) == 403);
  CHECK(gate.Ask(*guest, Get("/")).ends_with("next"));
}

TEST_CASE("an answer that agrees to something else is a 502") {
  std::string answer;
  TestGate gate([&](Origin::Connection& connection) {
    const std::string head = connection.ReadHead();
    if (answer == "accept") {
      return connection.Write(
          "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
          "Sec-WebSocket-Accept: " +
          std::string(kAccept) + "\r\n\r\n");
    }
    if (answer == "extension") {
      return connection.Write(Agree(head, "Sec-WebSocket-Extensions: permessage-deflate\r\n"));
    }
    connection.Write(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
        "Sec-WebSocket-Accept: x\r\n\r\n");
  });
  auto guest = gate.Open();
  SECTION("the guest's key, which the server never saw") {
    answer = "accept";
    CHECK(StatusOf(gate.Ask(*guest, Ask())) == 502);
  }
  SECTION("an extension that was not offered") {
    answer = "extension";
    CHECK(StatusOf(gate.Ask(*guest, Ask())) == 502);
  }
  SECTION("another protocol") {
    CHECK(StatusOf(gate.Ask(*guest, Ask())) == 502);
  }
  CHECK(gate.LastRecord().reason == Reason::kUpstreamProtocol);
}

TEST_CASE("a handshake that is none is an ordinary request without its upgrade") {
  TestGate gate;
  auto guest = gate.Open();
  const std::string upgrade = "Connection: Upgrade\r\nUpgrade: ";
  const std::string rest =
      std::string("\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ") + kKey + "\r\n";
  for (const std::string& fields :
       {upgrade + "h2c" + rest, "Upgrade: websocket" + rest,
        upgrade + "websocket\r\nUpgrade: websocket" + rest,
        upgrade + "websocket\r\nSec-WebSocket-Key: short\r\nSec-WebSocket-Version: 13\r\n"}) {
    const std::string answer = gate.Ask(*guest, Get("/", fields));
    CHECK(StatusOf(answer) == 200);
    CHECK_FALSE(Contains(answer, "pgrade:"));
  }
}

TEST_CASE("a value that a server's messages show becomes the placeholder, also across fragments") {
  SecretGate gate(
      [](Origin::Connection& connection) {
        const std::string head = connection.ReadHead();
        const std::string value = kValue;
        connection.Write(Agree(head, "X-Echo: " + value + "\r\n") +
                         ServerFrame(Opcode::kText, "it is " + value.substr(0, 9), Fin::kMore) +
                         ServerFrame(Opcode::kPing, "now"));
        connection.Write(ServerFrame(Opcode::kContinuation, value.substr(9) + "!") +
                         ServerFrame(Opcode::kBinary, value) +
                         ServerFrame(Opcode::kClose, CloseCode(1000) + "bye"));
        while (!connection.Read().empty()) {
        }
      },
      true);
  auto guest = gate.Open();
  guest->Send(Ask("Sec-WebSocket-Extensions: permessage-deflate\r\n"));
  CHECK(FieldOf(TakeSwitch(gate, *guest), "X-Echo") == gate.placeholder);
  CHECK(Until(gate, *guest, "close") == "ping now\ntext it is " + gate.placeholder + "!\nbinary " +
                                            gate.placeholder + "\nclose " + CloseCode(1000) +
                                            "bye\n");
}

TEST_CASE(
    "a binary message keeps its length where the value and the placeholder differ in theirs") {
  SecretGate gate(
      [](Origin::Connection& connection) {
        const std::string head = connection.ReadHead();
        connection.Write(Agree(head) + ServerFrame(Opcode::kBinary, "\x08short123.") +
                         ServerFrame(Opcode::kText, "short123.") +
                         ServerFrame(Opcode::kClose, CloseCode(1000)));
        while (!connection.Read().empty()) {
        }
      },
      true);
  REQUIRE(gate.secrets.Rotate("TOKEN", std::move(*secrets::Secret::Create("short123"))));
  auto guest = gate.Open();
  guest->Send(Ask());
  TakeSwitch(gate, *guest);
  CHECK(Until(gate, *guest, "close") == "binary \x08" + gate.placeholder.substr(0, 8) + ".\ntext " +
                                            gate.placeholder + ".\nclose " + CloseCode(1000) +
                                            "\n");
}

TEST_CASE("a placeholder in a text message becomes the value, and in a binary one stays") {
  SecretGate gate(EchoMessages, false);
  auto guest = gate.Open();
  guest->Send(Ask("Sec-WebSocket-Extensions: permessage-deflate\r\n"));
  TakeSwitch(gate, *guest);
  const std::string half = gate.placeholder.substr(0, 20);
  guest->Send(ClientFrame(Opcode::kText, "a " + half, Fin::kMore) +
              ClientFrame(Opcode::kPing, "now") +
              ClientFrame(Opcode::kContinuation, gate.placeholder.substr(20)) +
              ClientFrame(Opcode::kBinary, gate.placeholder) +
              ClientFrame(Opcode::kClose, CloseCode(1000)));
  const std::string text = Until(gate, *guest, "close " + CloseCode(1000) + "\n\n");
  CHECK_FALSE(Contains(text, "permessage-deflate"));
  CHECK(Contains(text, "ping now\n"));
  CHECK(Contains(text, std::string("text a ") + kValue + "\n"));
  CHECK(Contains(text, "binary " + gate.placeholder + "\n"));
  guest->CloseWrite();
  gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
  CHECK(gate.LastRecord().secrets == std::vector<std::string>{"TOKEN"});
}

TEST_CASE("a placeholder that may not be sent ends the WebSocket with 1008 where that blocks") {
  TestGate gate(EchoMessages);
  SecretSpec spec;
  spec.name = "TOKEN";
  spec.hosts = {*HostPattern::Parse("other.test")};
  spec.on_violation = SecretSpec::OnViolation::kTerminate;
  REQUIRE(gate.secrets.Add(std::move(spec), std::move(*secrets::Secret::Create(kValue))));
  const std::string placeholder = *gate.secrets.PlaceholderOf("TOKEN");
  auto guest = gate.Open();
  guest->Send(Ask());
  TakeSwitch(gate, *guest);
  const Opcode opcode = GENERATE(Opcode::kText, Opcode::kBinary);
  guest->Send(ClientFrame(opcode, "x " + placeholder));
  CHECK(Contains(Until(gate, *guest, "close"), "close " + CloseCode(1008)));
  CHECK_FALSE(gate.LastRecord().allowed);
  CHECK(gate.terminated.size() == 1);
}

TEST_CASE("frames that break the protocol end the WebSocket with 1002") {
  SECTION("the guest's") {
    SecretGate gate(EchoMessages, true);
    auto guest = gate.Open();
    guest->Send(Ask());
    TakeSwitch(gate, *guest);
    guest->Send(ServerFrame(Opcode::kText, "no mask"));
    CHECK(Contains(Until(gate, *guest, "close"), "close " + CloseCode(1002)));
    CHECK(gate.LastRecord().reason == Reason::kBadRequest);
  }
  SECTION("the server's") {
    std::string told;
    {
      SecretGate gate(
          [&](Origin::Connection& connection) {
            connection.Write(Agree(connection.ReadHead()) + ClientFrame(Opcode::kText, "mask"));
            for (std::string more = "x"; !more.empty(); told += more) more = connection.Read();
          },
          true);
      auto guest = gate.Open();
      guest->Send(Ask());
      TakeSwitch(gate, *guest);
      CHECK(Contains(Until(gate, *guest, "close"), "close " + CloseCode(1002)));
      CHECK(gate.LastRecord().reason == Reason::kUpstreamProtocol);
      gate.RunUntil([&] { return guest->ended(); });
    }
    CHECK(websocket::Say(Sender::kClient, {told}) == "close " + CloseCode(1002) + "\n");
  }
}

TEST_CASE("a server that ends is seen to end, and what it sent before is whole") {
  const bool cut = GENERATE(false, true);  // Without TLS saying so, as many do.
  TestGate gate([cut](Origin::Connection& connection) {
    const std::string head = connection.ReadHead();
    connection.Write(Agree(head) + std::string(100'000, 'd'));
    if (cut) connection.Cut();
  });
  auto guest = gate.Open();
  guest->Send(Ask());
  TakeSwitch(gate, *guest);
  gate.RunUntil([&] { return guest->ended() || guest->broken(); });
  CHECK(guest->ended());
  CHECK(guest->received == std::string(100'000, 'd'));
  guest->CloseWrite();
  gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
  CHECK(gate.audit.records.size() == 1);
}

TEST_CASE("a guest that does not read stops the server, and loses nothing") {
  TestGate gate([](Origin::Connection& connection) {
    connection.Write(Agree(connection.ReadHead()));
    connection.Read();
    for (int i = 0; i < 256; ++i) connection.Write(std::string(65536, static_cast<char>(i)));
  });
  auto guest = gate.Open();
  guest->Send(Ask());
  TakeSwitch(gate, *guest);
  guest->reading = false;
  guest->Send("go");
  for (int i = 0; i < 200; ++i) {
    const auto turn = gate.loop->Post([] {});
    REQUIRE(gate.loop->RunOnce());
  }
  guest->reading = true;
  guest->Pump();
  gate.RunUntil([&] { return guest->ended(); });
  CHECK(guest->received.size() == 256 * 65536);
}

TEST_CASE("a WebSocket that ends with the interceptor, or its guest, leaves one record") {
  TestGate gate(EchoBytes);
  auto guest = gate.Open();
  guest->Send(Ask());
  TakeSwitch(gate, *guest);
  SECTION("the interceptor") {
    gate.interceptor.reset();
  }
  SECTION("the guest") {
    guest->Abort();
    gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
  }
  CHECK(gate.audit.records.size() == 1);
}

}  // namespace
}  // namespace sallyport::mitm
