#include "mitm/response_scrub.h"

#include <catch2/catch.hpp>
#include <future>
#include <random>
#include <string>
#include <utility>

#include "mitm/content/decoder.h"
#include "mitm/limits.h"
#include "tests/mitm/pipeline.h"

namespace sallyport::mitm {
namespace {

using content::Coding;
using content::Encode;

TEST_CASE("an answer shows the placeholder in the value's place, and says its length") {
  PipelineGate gate;
  gate.answer = WithLength("Content-Type: text/plain\r\n", "the token is " + kValue + ".");
  const std::string answer = gate.GetAnswer();
  CHECK(BodyOf(answer) == "the token is " + gate.placeholder + ".");
  CHECK(Contains(answer, "Content-Length: "));
  CHECK_FALSE(Contains(answer, kValue));
}

TEST_CASE("the length of an answer is that of what the guest gets") {
  SecretSpec spec = Spec();
  PipelineGate gate(spec, "short123");
  gate.answer = WithLength("", "a short123 b");
  const std::string answer = gate.GetAnswer();
  CHECK(gate.placeholder.size() > 8);
  CHECK(BodyOf(answer) == "a " + gate.placeholder + " b");
  CHECK(Contains(answer, "Content-Length: " + std::to_string(gate.placeholder.size() + 4)));
}

TEST_CASE("a large answer is scrubbed as it passes, and loses its length") {
  PipelineGate gate;
  std::string body;
  for (int i = 0; i < 30; ++i) body += Filler(9000) + kValue;
  gate.answer = WithLength("", body);
  const std::string answer = gate.GetAnswer();
  CHECK(Contains(answer, "Transfer-Encoding: chunked\r\n"));
  CHECK_FALSE(Contains(answer, "Content-Length"));
  CHECK(BodyOf(answer) == Replaced(body, kValue, gate.placeholder));
}

TEST_CASE("an answer that may have lengths in it keeps its own, whatever a placeholder's is") {
  PipelineGate gate(Spec(), "short123");
  const std::string fields = "Content-Type: application/octet-stream\r\n";
  const std::string seen = gate.placeholder.substr(0, 8);
  const std::string body = std::string("\0\x08short123\0", 11);
  gate.answer = WithLength(fields, body);
  std::string answer = gate.GetAnswer();
  CHECK(Contains(answer, "Content-Length: 11\r\n"));
  CHECK(BodyOf(answer) == Replaced(body, "short123", seen));
  const std::string large = Filler(100'000) + "short123";
  gate.answer = WithLength(fields, large);
  answer = gate.GetAnswer();
  CHECK(Contains(answer, "Content-Length: 100008\r\n"));
  CHECK(BodyOf(answer) == Replaced(large, "short123", seen));
  gate.answer = WithLength(fields + "Content-Encoding: gzip\r\n", Encode(Coding::kGzip, large));
  answer = gate.GetAnswer("Accept-Encoding: gzip\r\n");
  CHECK(BodyOf(answer) == Replaced(large, "short123", seen));
  const std::string part = "Content-Type: text/plain\r\nContent-Range: bytes 5-14/100\r\n";
  gate.answer = Replaced(WithLength(part, "a short123"), "200 OK", "206 Partial");
  answer = gate.GetAnswer();
  CHECK(Contains(answer, "Content-Length: 10\r\n"));
  CHECK(BodyOf(answer) == "a " + seen);
}

TEST_CASE("a value is found across chunks, in trailers, fields and the reason phrase") {
  PipelineGate gate;
  for (const size_t size : {size_t{1}, size_t{7}, size_t{39}, size_t{1000}}) {
    gate.answer = Replaced(Chunked("Location: https://elsewhere.test/?t=" + kValue +
                                       "\r\nSet-Cookie: a=" + kValue + "; Secure\r\n",
                                   "x" + kValue + "y", size, "X-Last: " + kValue + "\r\n"),
                           "200 OK", "200 " + kValue);
    gate.guest->Send(Get("/"));
    gate.RunUntil([&] {
      return gate.guest->received.ends_with("\r\n\r\n") && Contains(gate.guest->received, "X-Last");
    });
    const std::string answer = std::exchange(gate.guest->received, {});
    CHECK_FALSE(Contains(answer, kValue));
    CHECK(answer.starts_with("HTTP/1.1 200 " + gate.placeholder));
    CHECK(Contains(answer, "Location: https://elsewhere.test/?t=" + gate.placeholder));
    CHECK(Contains(answer, "Set-Cookie: a=" + gate.placeholder + "; Secure"));
    CHECK(Contains(answer, "X-Last: " + gate.placeholder));
    CHECK(BodyOf(answer) == "x" + gate.placeholder + "y");
  }
}

TEST_CASE("an answer in a coding that was asked for is decoded and scrubbed") {
  PipelineGate gate;
  const std::string text = "before " + kValue + " after";
  for (const Coding coding : kCodings) {
    const std::string name(content::ToString(coding));
    INFO(name);
    const std::string fields = "Content-Encoding: " + name +
                               "\r\nETag: \"v1\"\r\nContent-MD5: x\r\nDigest: x\r\n"
                               "Content-Digest: x\r\nRepr-Digest: x\r\nAccept-Ranges: bytes\r\n"
                               "Vary: Accept-Encoding\r\n";
    const std::string coded = Encode(coding, text, 10);
    for (const std::string& sent : {WithLength(fields, coded), Chunked(fields, coded, 1)}) {
      gate.answer = sent;
      const std::string answer = gate.GetAnswer("Accept-Encoding: gzip, deflate, br, zstd\r\n");
      CHECK(BodyOf(answer) == Replaced(text, kValue, gate.placeholder));
      for (const char* field : {"Content-Encoding", "Content-MD5", "Digest", "Accept-Ranges"}) {
        CHECK_FALSE(Contains(answer, field));
      }
      CHECK_FALSE(Contains(answer, "ETag"));  // A value was replaced.
      CHECK(Contains(answer, "Vary: Accept-Encoding\r\n"));
    }
  }
}

constexpr const char* kVouchers =
    "ETag: \"v1\"\r\nContent-MD5: x\r\nDigest: x\r\nContent-Digest: x\r\nRepr-Digest: x\r\n"
    "x-goog-hash: x\r\nx-amz-checksum-crc32: x\r\n";

/// How many of kVouchers' digests are in ANSWER: all or none.
bool HasDigests(const std::string& answer) {
  size_t found = 0;
  for (const char* name : {"\nContent-MD5:", "\nDigest:", "\nContent-Digest:", "\nRepr-Digest:",
                           "\nx-goog-hash:", "\nx-amz-checksum-crc32:"}) {
    if (Contains(answer, name)) ++found;
  }
  CHECK((found == 0 || found == 6));
  return found != 0;
}

TEST_CASE("what vouches for a body goes where a value in it was replaced, and stays elsewhere") {
  PipelineGate gate;
  for (const bool shows : {true, false}) {
    CAPTURE(shows);
    const std::string body = shows ? "a " + kValue + " b" : "nothing";
    for (const std::string& sent :
         {WithLength(kVouchers, body), Chunked(kVouchers, body, 7),
          WithLength(kVouchers + std::string("Content-Type: image/png\r\n"), body)}) {
      gate.answer = sent;
      const std::string answer = gate.GetAnswer();
      CHECK(HasDigests(answer) != shows);
      CHECK(Contains(answer, "ETag") != shows);
    }
  }
}

TEST_CASE("digests of a long answer go where its host may hold a secret, and its ETag stays") {
  SecretSpec elsewhere = Spec();
  elsewhere.hosts = {*HostPattern::Parse("other.test")};
  PipelineGate bound;
  PipelineGate other(elsewhere);
  bound.answer = other.answer = WithLength(kVouchers, Filler(100'000) + kValue);
  const std::string from_bound = bound.GetAnswer();
  CHECK_FALSE(HasDigests(from_bound));
  CHECK(Contains(from_bound, "ETag: \"v1\"\r\n"));
  const std::string from_other = other.GetAnswer();
  CHECK(HasDigests(from_other));
  CHECK(Contains(from_other, "ETag: \"v1\"\r\n"));
}

TEST_CASE("a digest in trailers goes where a value was replaced in whatever length of body") {
  PipelineGate gate;
  for (const bool shows : {true, false}) {
    gate.answer = Chunked("", Filler(100'000) + (shows ? kValue : "end"), 5000,
                          "Content-Digest: sha-256=:x:\r\nX-Last: y\r\n");
    gate.guest->Send(Get("/"));
    gate.RunUntil([&] { return gate.guest->received.ends_with("X-Last: y\r\n\r\n"); });
    const std::string answer = std::exchange(gate.guest->received, {});
    CHECK(Contains(answer, "Content-Digest: sha-256=:x:\r\n") != shows);
  }
}

TEST_CASE("several codings are taken off in their order") {
  PipelineGate gate;
  const std::string text = Filler(100'000) + kValue;
  gate.answer = WithLength("Content-Encoding: deflate, br\r\n",
                           Encode(Coding::kBrotli, Encode(Coding::kDeflate, text)));
  const std::string answer = gate.GetAnswer("Accept-Encoding: *\r\n");
  CHECK(BodyOf(answer) == Replaced(text, kValue, gate.placeholder));
}

TEST_CASE("a coding that was not asked for is passed on as it came, if it shows no secret") {
  PipelineGate gate;
  const std::string archive = Encode(Coding::kGzip, Filler(500'000));
  gate.answer = WithLength("Content-Encoding: x-gzip\r\nETag: \"v1\"\r\n", archive);
  for (const char* fields : {"", "Accept-Encoding: identity\r\n", "Accept-Encoding: br\r\n"}) {
    const std::string answer = gate.GetAnswer(fields);
    CHECK(Contains(answer, "Content-Encoding: x-gzip\r\nETag: \"v1\"\r\n"));
    CHECK(Contains(answer, "Content-Length: " + std::to_string(archive.size())));
    CHECK(BodyOf(answer) == archive);
  }
  gate.answer = WithLength("Content-Encoding: gzip\r\n", Encode(Coding::kGzip, "a " + kValue));
  const std::string refused = gate.GetAnswer();
  CHECK(StatusOf(refused) == 502);
  CHECK(Contains(refused, "it shows a secret, in a content coding that was not asked for"));
  CHECK(gate.LastRecord().reason == Reason::kUpstreamProtocol);
}

TEST_CASE("an answer in a coding without a decoder is refused, readably") {
  PipelineGate gate;
  gate.answer = WithLength("Content-Encoding: compress\r\n", "...");
  const std::string answer = gate.GetAnswer();
  CHECK(StatusOf(answer) == 502);
  CHECK(Contains(answer, "urn:sallyport:upstream_protocol"));
  CHECK(Contains(answer, "can't be searched for secrets: its content coding is compress"));
  gate.answer = WithLength("Content-Encoding: compress\r\n", "");
  CHECK(StatusOf(gate.GetAnswer()) == 200);
}

TEST_CASE("a coded answer that is cut off or followed by garbage is not passed off as complete") {
  const std::string coded = Encode(Coding::kGzip, Filler(50'000));
  std::string large(1'000'000, ' ');
  std::mt19937 random(1);
  for (char& c : large) c = static_cast<char>('a' + random() % 26);
  const std::string long_coded = Encode(Coding::kGzip, large);
  const std::string accept = "Accept-Encoding: gzip\r\n";
  SECTION("in a small one the guest reads why") {
    PipelineGate gate;
    for (const std::string& bad : {coded.substr(0, coded.size() - 1), coded + "x"}) {
      gate.answer = WithLength("Content-Encoding: gzip\r\n", bad);
      const std::string answer = gate.GetAnswer(accept);
      CHECK(StatusOf(answer) == 502);
      CHECK(Contains(answer, "can't be searched for secrets: gzip: "));
    }
  }
  SECTION("a large one breaks off") {
    PipelineGate gate;
    gate.answer = WithLength("Content-Encoding: gzip\r\n", long_coded.substr(0, 500'000));
    gate.guest->Send(Get("/", accept));
    gate.RunUntil([&] { return gate.guest->broken() || gate.guest->ended(); });
    CHECK(gate.guest->broken());
    CHECK_FALSE(Contains(gate.guest->received, "\r\n0\r\n\r\n"));
    CHECK(gate.LastRecord().reason == Reason::kUpstreamProtocol);
  }
}

TEST_CASE("answers without a body keep what they say, but for secrets") {
  PipelineGate gate;
  const std::string head = "HEAD / HTTP/1.1\r\nHost: api.test\r\nAccept-Encoding: gzip\r\n\r\n";
  gate.answer = "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nX-A: " + kValue + "\r\n\r\n";
  std::string answer = gate.Ask(*gate.guest, head);
  CHECK(Contains(answer, "Content-Length: 1234\r\n"));
  CHECK(Contains(answer, "X-A: " + gate.placeholder));
  gate.answer = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nContent-Encoding: gzip\r\n\r\n";
  answer = gate.Ask(*gate.guest, head);
  CHECK_FALSE(Contains(answer, "Content-"));  // As an answer to GET, which is decoded.
  gate.answer =
      "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Encoding: gzip\r\nX-A: " + kValue +
      "\r\n\r\n";
  answer = gate.GetAnswer("Accept-Encoding: gzip\r\n");
  CHECK(Contains(answer, "ETag: \"a\"\r\nContent-Encoding: gzip\r\nX-A: " + gate.placeholder));
  gate.answer = "HTTP/1.1 204 No Content\r\nX-A: " + kValue + "\r\n\r\n";
  CHECK(Contains(gate.GetAnswer(), "X-A: " + gate.placeholder));
  gate.answer =
      "HTTP/1.1 103 Early Hints\r\nLink: <" + kValue + ">\r\n\r\n" + WithLength("", "end");
  answer = gate.GetAnswer();
  answer += gate.TakeAnswer(*gate.guest);
  CHECK(Contains(answer, "103 Early Hints\r\nLink: <" + gate.placeholder + ">"));
  CHECK(answer.ends_with("end"));
  CHECK(gate.origin.connections() == 1);
}

TEST_CASE("a client of HTTP/1.0 gets a scrubbed answer up to the connection's end") {
  PipelineGate gate;
  gate.answer = Chunked("", Filler(100'000) + kValue, 5000);
  gate.guest->Send("GET / HTTP/1.0\r\nHost: api.test\r\n\r\n");
  gate.RunUntil([&] { return gate.guest->ended() || gate.guest->broken(); });
  CHECK(gate.guest->ended());
  CHECK(gate.guest->received.ends_with("\r\n\r\n" + Filler(100'000) + gate.placeholder));
}

TEST_CASE("servers are asked only for what can be searched") {
  SecretSpec elsewhere = Spec();
  elsewhere.hosts = {*HostPattern::Parse("other.test")};
  PipelineGate bound;
  PipelineGate other(elsewhere);
  bound.answer = other.answer = WithLength("", "ok");
  bound.GetAnswer(
      "Accept-Encoding: zstd;q=0.9, compress, *;q=0.1\r\nRange: bytes=0-3\r\n"
      "If-Range: \"a\"\r\nA-IM: feed\r\ngrpc-accept-encoding: gzip\r\n");
  CHECK(Contains(bound.head(), "accept-encoding: zstd;q=0.9, gzip;q=0.1\r\n"));
  CHECK_FALSE(Contains(bound.head(), "Range"));
  CHECK_FALSE(Contains(bound.head(), "A-IM"));
  CHECK(Contains(bound.head(), "grpc-accept-encoding: identity\r\n"));
  bound.GetAnswer();
  CHECK(Contains(bound.head(), "accept-encoding: identity\r\n"));
  other.GetAnswer("Accept-Encoding: gzip\r\nRange: bytes=0-3\r\nIf-Range: \"a\"\r\n");
  CHECK(Contains(other.head(), "accept-encoding: identity\r\nRange: bytes=0-3\r\nIf-Range"));
  other.GetAnswer("Accept-Encoding: gzip, br\r\n");
  CHECK(Contains(other.head(), "Accept-Encoding: gzip, br\r\n"));
}

TEST_CASE("a part is scrubbed as it is; of a coded body, from a host with a secret, refused") {
  SecretSpec elsewhere = Spec();
  elsewhere.hosts = {*HostPattern::Parse("other.test")};
  PipelineGate bound;
  PipelineGate other(elsewhere);
  const std::string fields = "Content-Range: bytes 5-20/100\r\n";
  const std::string plain = Replaced(WithLength(fields, "x" + kValue), "200 OK", "206 Partial");
  const std::string coded = Replaced(
      WithLength(fields + "Content-Encoding: gzip\r\n", "gz " + kValue), "200 OK", "206 Partial");
  bound.answer = other.answer = plain;
  CHECK(BodyOf(bound.GetAnswer()) == "x" + bound.placeholder);
  CHECK(BodyOf(other.GetAnswer("Range: bytes=5-20\r\n")) == "x" + other.placeholder);
  bound.answer = other.answer = coded;
  CHECK(StatusOf(bound.GetAnswer()) == 502);
  CHECK(BodyOf(other.GetAnswer("Range: bytes=5-20\r\n")) == "gz " + other.placeholder);
}

TEST_CASE("without a secret to scrub, answers pass as they are") {
  SecretSpec spec = Spec();
  spec.scrub = false;
  PipelineGate gate(spec);
  const std::string coded = Encode(Coding::kGzip, kValue);
  gate.answer = WithLength("Content-Encoding: gzip\r\nETag: \"a\"\r\n", coded);
  const std::string answer = gate.GetAnswer("Accept-Encoding: compress\r\nRange: bytes=0-9\r\n");
  CHECK(Contains(answer, "Content-Encoding: gzip\r\nETag: \"a\"\r\n"));
  CHECK(BodyOf(answer) == coded);
  CHECK(Contains(gate.head(), "Accept-Encoding: compress\r\nRange: bytes=0-9\r\n"));
}

TEST_CASE("an answer that is made here is not narrowed or scrubbed, and says its length") {
  PipelineGate gate;
  gate.engine.OnRequest([](const policy::Facts&, const policy::TlsFacts&, RequestHead&) {
    return policy::FakeEngine::Deny({.reason = Reason::kDeniedByRule,
                                     .status = 403,
                                     .detail = "no",
                                     .rule = {},
                                     .how_to_allow = {}});
  });
  CHECK(StatusOf(gate.GetAnswer()) == 403);
  CHECK(gate.requests() == 0);
}

/// A server that sends one event, and the second when it is told to.
struct EventServer {
  std::promise<void> go_on;
  /// It ends as kValue begins.
  static inline const std::string kFirst = "data: first\n\ndata: ghp_real";

  Origin::Handler Handler(Coding* coding) {
    return [this, coding](Origin::Connection& connection) {
      connection.ReadHead();
      const std::string events = kFirst + " second\n\n";
      const std::string coded = coding != nullptr ? Encode(*coding, events, kFirst.size()) : events;
      // What decodes to the first event, and more than that only once the test says so.
      const size_t half = coding != nullptr ? FirstHalf(*coding, coded) : kFirst.size();
      std::string head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
      if (coding != nullptr) {
        head += "Content-Encoding: " + std::string(content::ToString(*coding)) + "\r\n";
      }
      const auto chunk = [](const std::string& piece) {
        return Replaced(Chunks(piece, piece.size()), "\r\n0\r\n\r\n", "\r\n");
      };
      connection.Write(head + "Transfer-Encoding: chunked\r\n\r\n");
      connection.Write(chunk(coded.substr(0, half)));
      go_on.get_future().wait();
      connection.Write(chunk(coded.substr(half)) + "0\r\n\r\n");
      connection.ReadHead();
    };
  }

  static size_t FirstHalf(Coding coding, const std::string& coded) {
    content::DecoderMemory memory(kMaxDecoderMemory);
    content::ContentDecoder decoder({coding}, memory);
    std::string out;
    size_t size = 0;
    while (out.size() < kFirst.size() && size < coded.size()) {
      std::string_view byte = std::string_view(coded).substr(size++, 1);
      if (!decoder.Decode(byte, 100, out)) break;
    }
    return size;
  }
};

TEST_CASE("an event reaches the guest before the next one is sent") {
  Coding coding = Coding::kGzip;
  Coding* coded = nullptr;
  bool scrubs = true;
  SECTION("with nothing to scrub") {
    scrubs = false;
  }
  SECTION("scrubbed") {}
  SECTION("scrubbed, through gzip") {
    coded = &coding;
  }
  SECTION("scrubbed, through deflate") {
    coded = &coding, coding = Coding::kDeflate;
  }
  SECTION("scrubbed, through br") {
    coded = &coding, coding = Coding::kBrotli;
  }
  SECTION("scrubbed, through zstd") {
    coded = &coding, coding = Coding::kZstd;
  }
  EventServer server;
  TestGate gate(server.Handler(coded));
  SecretSpec spec = Spec();
  spec.scrub = scrubs;
  REQUIRE(gate.secrets.Add(spec, std::move(*secrets::Secret::Create(kValue))));
  auto guest = gate.Open();
  guest->Send(Get("/", "Accept-Encoding: gzip, deflate, br, zstd\r\n"));
  gate.RunUntil([&] { return BodySoFar(guest->received) == EventServer::kFirst; });
  CHECK_FALSE(Contains(guest->received, "second"));
  server.go_on.set_value();
  CHECK(BodyOf(gate.TakeAnswer(*guest)) == EventServer::kFirst + " second\n\n");
}

TEST_CASE("a guest that does not read holds back a bomb") {
  PipelineGate gate;
  gate.answer = WithLength("Content-Encoding: br\r\n",
                           Encode(Coding::kBrotli, std::string(30'000'000, '\0')));
  gate.guest->Send(Get("/", "Accept-Encoding: br\r\n"));
  gate.RunUntil([&] { return gate.guest->received.size() > 100; });
  gate.guest->reading = false;
  // The loop comes to rest: nothing more is done until the guest reads.
  for (int turn = 0; turn < 200; ++turn) {
    bool turned = false;
    const auto next = gate.loop->Post([&turned] { turned = true; });
    gate.RunUntil([&] { return turned; });
  }
  const size_t before = gate.guest->received.size();
  CHECK(before < 1'000'000);
  gate.guest->reading = true;
  gate.guest->Pump();
  CHECK(BodyOf(gate.TakeAnswer(*gate.guest)) == std::string(30'000'000, '\0'));
}

}  // namespace
}  // namespace sallyport::mitm
