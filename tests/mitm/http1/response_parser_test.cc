#include "mitm/http1/response_parser.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/mitm/conversation.h"

namespace sallyport::mitm::http1 {
namespace {

std::string Read(const std::string& bytes, std::vector<std::string> methods = {"GET"}) {
  return ReadResponses({bytes}, std::move(methods));
}

TEST_CASE("responses are read one after the other") {
  CHECK(Read("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nA: b\r\n\r\nabc"
             "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\nT: "
             "1\r\n\r\n",
             {"GET", "GET"}) ==
        "200 OK body:3 A=b;\nbody abc\nend keep\n"
        "404 Not Found body:unknown\nbody xy\nend keep T=1;\n");
}

TEST_CASE("responses mean the same however their bytes are cut") {
  const std::string conversations[] = {
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
      "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nab",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;e\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
      "HTTP/1.0 200 OK\r\nA: b\r\n\r\nuntil the end",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
      "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
  };
  for (const std::string& bytes : conversations) {
    const std::string whole = Read(bytes);
    INFO(bytes);
    INFO(whole);
    ForEachCut(bytes, [&](const std::vector<std::string_view>& pieces) {
      if (ReadResponses(pieces, {"GET"}, 2) != whole)
        CHECK(ReadResponses(pieces, {"GET"}, 2) == whole);
    });
  }
}

TEST_CASE("a response without a body has none, whatever its fields say") {
  CHECK(Read("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", {"HEAD"}) ==
        "200 OK body:10\nend keep\n");
  CHECK(Read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", {"HEAD"}) ==
        "200 OK body:unknown\nend keep\n");
  CHECK(Read("HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n") ==
        "304 Not Modified body:10\nend keep\n");
  CHECK(Read("HTTP/1.1 204 No Content\r\nContent-Length: 10\r\n\r\n") ==
        "204 No Content body:none\nend keep\n");
}

TEST_CASE("a body without a length ends with the connection") {
  CHECK(Read("HTTP/1.1 200 OK\r\n\r\nabc") == "200 OK body:unknown\nbody abc\nend close\n");
}

TEST_CASE("a body that ends before its length is cut off") {
  CHECK(Read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc") ==
        "200 OK body:5\nbody abc\ncut off\n");
  CHECK(Read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n") ==
        "200 OK body:unknown\nbody abc\ncut off\n");
  CHECK(Read("") == "cut off\n");
  CHECK(Read("HTTP/1.1 200 OK\r\nA") == "cut off\n");
}

TEST_CASE("a server's connection is kept only where both sides may go on") {
  CHECK(Read("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n") ==
        "200 OK body:0\nend close\n");
  CHECK(Read("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n") == "200 OK body:0\nend close\n");
  CHECK(Read("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n") ==
        "200 OK body:0\nend keep\n");
}

TEST_CASE(
    "fields of the hop, and those that a Connection field lists, are taken out of a response") {
  CHECK(Read("HTTP/1.1 200 OK\r\nConnection: X-Hop, keep-alive\r\nX-Hop: a\r\nKeep-Alive: 5\r\n"
             "Proxy-Authenticate: Basic\r\nTrailer: T\r\nUpgrade: h2\r\nContent-Length: 0\r\nB: "
             "c\r\n\r\n") == "200 OK body:0 B=c;\nend keep\n");
}

TEST_CASE("trailers that would change how a message is treated are dropped") {
  CHECK(Read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nSet-Cookie: a\r\n"
             "Content-Length: 4\r\nGrpc-Status: 0\r\n\r\n") ==
        "200 OK body:unknown\nend keep Grpc-Status=0;\n");
}

TEST_CASE("a response that could be read in two ways is an error") {
  const std::string heads[] = {
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
      "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
      "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
      "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
      "HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n",
      "HTTP/1.1 20 OK\r\n\r\n",
      "HTTP/2.0 200 OK\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\n\r\n",
      "\r\nHTTP/1.1 200 OK\r\n\r\n",
      "hello\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
  };
  for (const std::string& bytes : heads) {
    INFO(bytes);
    const std::string transcript = Read(bytes);
    INFO(transcript);
    CHECK(transcript.find("error ") != std::string::npos);
  }
}

}  // namespace
}  // namespace sallyport::mitm::http1
