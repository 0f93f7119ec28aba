#include "mitm/http1/request_parser.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "mitm/limits.h"
#include "tests/mitm/conversation.h"

namespace sallyport::mitm::http1 {
namespace {

using namespace std::string_literals;

std::string Read(const std::string& bytes) {
  return ReadRequests({bytes});
}

/// The status that a request is refused with; 0 when it is not.
int Refused(const std::string& bytes) {
  const std::string transcript = Read(bytes);
  const size_t last = transcript.rfind('\n', transcript.size() - 2);
  const std::string line = transcript.substr(last == std::string::npos ? 0 : last + 1);
  return line[0] >= '4' && line[0] <= '5' ? std::stoi(line) : 0;
}

TEST_CASE("a request's head is read, its body follows, and the next request begins behind it") {
  CHECK(Read("GET /a?b=c HTTP/1.1\r\nHost: x.test\r\nAccept: */*\r\n\r\n"
             "POST /p HTTP/1.1\r\nhost: x.test\r\nContent-Length: 4\r\n\r\nabcd"
             "GET / HTTP/1.0\r\nHost: x.test\r\n\r\n") ==
        "GET https x.test /a?b=c 1.1 keep body:none Accept=*/*;\n"
        "end\n"
        "POST https x.test /p 1.1 keep body:4\n"
        "body abcd\n"
        "end\n"
        "GET https x.test / 1.0 close body:none\n"
        "end\n");
}

TEST_CASE("requests mean the same however their bytes are cut") {
  const std::string conversations[] = {
      "GET /a?b HTTP/1.1\r\nHost: x.test\r\nA:\r\nB:  v w \t\r\nConnection: TE, close\r\n"
      "TE: trailers\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3;a=b\r\nabc\r\n0A\r\n0123456789\r\n0\r\nT: 1\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
      "\r\nPUT /u HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabcGET",
      "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabXX0\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\r\n\r\n",
  };
  for (const std::string& bytes : conversations) {
    const std::string whole = Read(bytes);
    INFO(bytes);
    INFO(whole);
    ForEachCut(bytes, [&](const std::vector<std::string_view>& pieces) {
      if (ReadRequests(pieces, 2) != whole) CHECK(ReadRequests(pieces, 2) == whole);
    });
  }
}

TEST_CASE("a request that two servers could read differently is refused") {
  const std::string host = "Host: x\r\n";
  const std::string post = "POST / HTTP/1.1\r\n" + host;
  const std::string chunked = post + "Transfer-Encoding: chunked\r\n";
  struct Row {
    const char* what;
    std::string bytes;
    int status;
  };
  const Row rows[] = {
      {"CL and TE", chunked + "Content-Length: 4\r\n\r\n0\r\n\r\n", 400},
      {"TE and CL", post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"differing CLs", post + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd", 400},
      {"two equal CLs", post + "Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 400},
      {"a list of CLs", post + "Content-Length: 4, 4\r\n\r\nabcd", 400},
      {"signed CL", post + "Content-Length: +4\r\n\r\nabcd", 400},
      {"hex CL", post + "Content-Length: 0x4\r\n\r\nabcd", 400},
      {"empty CL", post + "Content-Length:\r\n\r\n", 400},
      {"CL of 2^64", post + "Content-Length: 18446744073709551616\r\n\r\n", 400},
      {"CL of 2^64 - 1", post + "Content-Length: 18446744073709551615\r\n\r\n", 400},
      {"space before colon", post + "Content-Length : 4\r\n\r\nabcd", 400},
      {"TE of two codings", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400},
      {"TE chunked, identity", post + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400},
      {"TE identity", post + "Transfer-Encoding: identity\r\n\r\n", 400},
      {"TE xchunked", post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400},
      {"TE with vertical tab",
       post + "Transfer-Encoding: \x0b"
              "chunked\r\n\r\n0\r\n\r\n",
       400},
      {"TE empty", post + "Transfer-Encoding:\r\n\r\n", 400},
      {"two TEs", chunked + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"two differing TEs", chunked + "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400},
      {"TE in HTTP/1.0",
       "POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"no Host", "GET / HTTP/1.1\r\nA: b\r\n\r\n", 400},
      {"no Host in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", 400},
      {"two Hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
      {"two equal Hosts", "GET / HTTP/1.1\r\nHost: x\r\nhost: x\r\n\r\n", 400},
      {"absolute target for another host", "GET https://y/ HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"absolute target for another port", "GET https://x:8443/ HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"absolute target with user information", "GET https://x@y/ HTTP/1.1\r\nHost: x\r\n\r\n",
       400},
      {"absolute target of another scheme", "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a target without slash", "GET a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a fragment", "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a star without OPTIONS", "GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a space in the target", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a control character in the target", "GET /a\x01 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"two spaces", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a tab", "GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"obs-fold", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400},
      {"a folded CL", "POST / HTTP/1.1\r\nHost: x\r\n Content-Length: 4\r\n\r\nabcd", 400},
      {"first field folded", "POST / HTTP/1.1\r\n Content-Length: 4\r\nHost: x\r\n\r\nabcd", 400},
      {"a line of one space", "GET / HTTP/1.1\r\nHost: x\r\n \r\n\r\n", 400},
      {"bare CR between fields", "GET / HTTP/1.1\r\nHost: x\rContent-Length: 4\r\n\r\n", 400},
      {"bare CR in place of an end", "GET / HTTP/1.1\r\nHost: x\r\n\rContent-Length: 4\r\n\r\n",
       400},
      {"bare CR at an end", "GET / HTTP/1.1\r\nHost: x\r\n\r\r\n", 400},
      {"bare LF", "GET / HTTP/1.1\nHost: x\n\n", 400},
      {"one bare LF", "GET / HTTP/1.1\r\nHost: x\n\r\n", 400},
      {"NUL in a value", "GET / HTTP/1.1\r\nHost: x\r\nA: a\0b\r\n\r\n"s, 400},
      {"NUL in a name", "GET / HTTP/1.1\r\nHost: x\r\nA\0: b\r\n\r\n"s, 400},
      {"NUL in the target", "GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n"s, 400},
      {"escape in a value", "GET / HTTP/1.1\r\nHost: x\r\nA: a\x1b\r\n\r\n", 400},
      {"delete in a value", "GET / HTTP/1.1\r\nHost: x\r\nA: a\x7f\r\n\r\n", 400},
      {"a name that is no token", "GET / HTTP/1.1\r\nHost: x\r\nA(b: c\r\n\r\n", 400},
      {"an empty name", "GET / HTTP/1.1\r\nHost: x\r\n: c\r\n\r\n", 400},
      {"a field without colon", "GET / HTTP/1.1\r\nHost: x\r\nabc\r\n\r\n", 400},
      {"HTTP/0.9", "GET /\r\n\r\n", 400},
      {"HTTP/1.2", "GET / HTTP/1.2\r\nHost: x\r\n\r\n", 400},
      {"HTTP/2.0", "GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505},
      {"HTTP/01.1", "GET / HTTP/01.1\r\nHost: x\r\n\r\n", 400},
      {"lower case http", "GET / http/1.1\r\nHost: x\r\n\r\n", 400},
      {"the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
      {"a method with a digit", "GET1 / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a long method", std::string(33, 'A') + " / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a lower case method", "get / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"white space first", " GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"many empty lines", "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a chunk longer than its size", chunked + "\r\n2\r\nabXX0\r\n\r\n", 400},
      {"a chunk without its line end", chunked + "\r\n2\r\nab0\r\n\r\n", 400},
      {"a chunk size with bare LF", chunked + "\r\n2\nab\r\n0\r\n\r\n", 400},
      {"a chunk's data with bare LF", chunked + "\r\n2\r\nab\n0\r\n\r\n", 400},
      {"a signed chunk size", chunked + "\r\n+2\r\nab\r\n0\r\n\r\n", 400},
      {"a chunk size with a prefix", chunked + "\r\n0x2\r\nab\r\n0\r\n\r\n", 400},
      {"a chunk size with a space", chunked + "\r\n2 \r\nab\r\n0\r\n\r\n", 400},
      {"no chunk size", chunked + "\r\n\r\nab\r\n0\r\n\r\n", 400},
      {"a chunk size of 2^64", chunked + "\r\n10000000000000000\r\nab\r\n0\r\n\r\n", 400},
      {"a bare CR in an extension", chunked + "\r\n2;a\rb\r\nab\r\n0\r\n\r\n", 400},
      {"a bare LF in an extension", chunked + "\r\n2;a\nb\r\nab\r\n0\r\n\r\n", 400},
      {"a NUL in an extension", chunked + "\r\n2;a\0\r\nab\r\n0\r\n\r\n"s, 400},
      {"a long extension", chunked + "\r\n2;" + std::string(300, 'a') + "\r\n", 400},
      {"a trailer that is no field", chunked + "\r\n0\r\nabc\r\n\r\n", 400},
      {"a folded trailer", chunked + "\r\n0\r\nA: b\r\n c\r\n\r\n", 400},
      {"a trailer with bare LF", chunked + "\r\n0\r\nA: b\n\r\n\r\n", 400},
      {"trailers ended by bare LFs", chunked + "\r\n0\r\nA: b\n\n", 400},
      {"a trailer of framing", chunked + "\r\n0\r\nContent-Length: 1\r\n\r\n", 400},
      {"a trailer of framing to some", chunked + "\r\n0\r\nTransfer_Encoding: a\r\n\r\n", 400},
      {"a trailer of the connection", chunked + "\r\n0\r\nConnection: close\r\n\r\n", 400},
      {"endless trailers", chunked + "\r\n0\r\nA: " + std::string(kMaxTrailerBytes, 'a'), 400},
      {"Connection: authorization",
       "GET / HTTP/1.1\r\nHost: x\r\nConnection: authorization\r\n\r\n", 400},
      {"Connection: close, x-api-key",
       "GET / HTTP/1.1\r\nHost: x\r\nConnection: close, X-Api-Key\r\n\r\n", 400},
      {"Connection: host", "GET / HTTP/1.1\r\nHost: x\r\nConnection: host\r\n\r\n", 400},
      {"Connection: content-length",
       post + "Connection: content-length\r\nContent-Length: 4\r\n\r\nabcd", 400},
      {"another expectation", post + "Expect: 200-ok\r\nContent-Length: 4\r\n\r\n", 417},
      {"a target over 16 KiB",
       "GET /" + std::string(kMaxTargetBytes, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n", 414},
      {"an endless start line", "GET /" + std::string(kMaxTargetBytes + 100, 'a'), 414},
      {"a head over 64 KiB", "GET / HTTP/1.1\r\nHost: x\r\nA: " + std::string(kMaxHeadBytes, 'a'),
       431},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    INFO(Read(row.bytes));
    CHECK(Refused(row.bytes) == row.status);
  }
}

TEST_CASE("a head may have 100 fields and no more") {
  std::string bytes = "GET / HTTP/1.1\r\nHost: x\r\n";
  for (int i = 0; i < 99; ++i) bytes += "A: b\r\n";
  CHECK(Refused(bytes + "\r\n") == 0);
  CHECK(Refused(bytes + "A: b\r\n\r\n") == 431);
}

TEST_CASE("a target may have 16 KiB") {
  CHECK(Refused("GET /" + std::string(kMaxTargetBytes - 1, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n") ==
        0);
}

TEST_CASE("fields of the hop are taken out of a request") {
  CHECK(
      Read("GET / HTTP/1.1\r\nHost: x\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\n"
           "Connection: Upgrade, HTTP2-Settings, keep-alive\r\nProxy-Connection: keep-alive\r\n"
           "Proxy-Authorization: Basic YTpi\r\nTrailer: T\r\nTE: gzip, trailers\r\nA: b\r\n\r\n") ==
      "GET https x / 1.1 keep body:none A=b; te=trailers;\nend\n");
}

TEST_CASE("an absolute target for the host of the Host field is a path") {
  CHECK(Read("GET https://X.test:443?q HTTP/1.1\r\nHost: x.test\r\n\r\n") ==
        "GET https x.test /?q 1.1 keep body:none\nend\n");
  CHECK(Read("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n") ==
        "OPTIONS https x * 1.1 keep body:none\nend\n");
  CHECK(Read("OPTIONS https://x HTTP/1.1\r\nHost: x\r\n\r\n"
             "OPTIONS https://x/ HTTP/1.1\r\nHost: x\r\n\r\n"
             "OPTIONS https://x?a HTTP/1.1\r\nHost: x\r\n\r\n") ==
        "OPTIONS https x * 1.1 keep body:none\nend\n"
        "OPTIONS https x / 1.1 keep body:none\nend\n"
        "OPTIONS https x /?a 1.1 keep body:none\nend\n");
}

TEST_CASE("a method that nobody knows is read like any other") {
  CHECK(Read("LIST /v1?a HTTP/1.1\r\nHost: x\r\n\r\n"
             "M-SEARCH_X / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab"
             "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n") ==
        "LIST https x /v1?a 1.1 keep body:none\nend\n"
        "M-SEARCH_X https x / 1.1 keep body:2\nbody ab\nend\n"
        "OPTIONS https x * 1.1 keep body:none\nend\n");
}

TEST_CASE("a path is handed on as it was spelled") {
  CHECK(Read("GET //a/../%2e%2F;p?a?b=%00 HTTP/1.1\r\nHost: x\r\n\r\n") ==
        "GET https x //a/../%2e%2F;p?a?b=%00 1.1 keep body:none\nend\n");
}

TEST_CASE("trailers of a request are read, and announced if they may be") {
  const std::string bytes =
      "POST / HTTP/1.1\r\nHost: x\r\nTrailer: X-Sum, Host , content_length,Authorization\r\n"
      "Transfer-Encoding: Chunked\r\nTrailer: b\r\n\r\n"
      "4\r\nabcd\r\n0\r\nX-Sum:  1 \r\nAuthorization: x\r\n\r\n";
  ForEachCut(bytes, [](const std::vector<std::string_view>& pieces) {
    REQUIRE(ReadRequests(pieces) ==
            "POST https x / 1.1 keep body:unknown Trailer=X-Sum, b;\nbody abcd\n"
            "end X-Sum=1; Authorization=x;\n");
  });
}

TEST_CASE("a body's pieces are never larger than asked for") {
  RequestParser parser(RequestParser::Scheme::kHttp);
  std::string_view bytes = "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789";
  REQUIRE(parser.Next(bytes, 0).kind == MessageEvent::Kind::kHead);
  CHECK(parser.Next(bytes, 4).piece == "0123");
  CHECK(parser.Next(bytes, 4).piece == "4567");
  CHECK(parser.Next(bytes, 4).piece == "89");
  CHECK(parser.Next(bytes, 4).kind == MessageEvent::Kind::kEnd);
}

}  // namespace
}  // namespace sallyport::mitm::http1
