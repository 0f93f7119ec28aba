#include "runtime/dial/connect_reply.h"

#include <catch2/catch.hpp>

namespace sallyport::runtime {
namespace {

using State = ConnectReply::State;

struct Read {
  State state;
  int status;
  std::string schemes;
  size_t taken;  // Of all bytes.
  bool operator==(const Read&) const = default;
};

/// What comes of TEXT that arrives in pieces which end at FIRST and SECOND.
Read ReadCut(std::string_view text, size_t first, size_t second) {
  ConnectReply reply;
  size_t taken = 0;
  for (const auto& [from, to] :
       {std::pair(size_t{0}, first), std::pair(first, second), std::pair(second, text.size())}) {
    const std::string_view piece = text.substr(from, to - from);
    const size_t count = reply.Feed(piece);
    taken += count;
    if (reply.state() != State::kMore) break;
    CHECK(count == piece.size());
  }
  return {reply.state(), reply.status(), reply.schemes(), taken};
}

/// The same, however TEXT is cut in three.
Read ReadEveryWay(std::string_view text) {
  const Read whole = ReadCut(text, text.size(), text.size());
  for (size_t first = 0; first <= text.size(); ++first) {
    for (size_t second = first; second <= text.size(); ++second) {
      if (!(ReadCut(text, first, second) == whole)) FAIL("cut at " << first << " and " << second);
    }
  }
  return whole;
}

TEST_CASE(
    "an answer to CONNECT is read the same however it is cut, and nothing behind it is taken") {
  const std::string head =
      "HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\nX-Odd:\t\xe9\r\n\r\n";
  const Read read = ReadEveryWay(head + "SSH-2.0-server\r\n\r\n");
  CHECK(read.state == State::kHead);
  CHECK(read.status == 200);
  CHECK(read.taken == head.size());
}

TEST_CASE("an answer without fields or a phrase, and an old one, are answers") {
  CHECK(ReadEveryWay("HTTP/1.1 200\r\n\r\n").status == 200);
  CHECK(ReadEveryWay("HTTP/1.0 200 \r\n\r\n").state == State::kHead);
  CHECK(ReadEveryWay("HTTP/1.1 503 no\r\n\r\n<html>").status == 503);
}

TEST_CASE("a refusal names its schemes as tokens only") {
  const Read read = ReadEveryWay(
      "HTTP/1.1 407 Who\r\nProxy-Authenticate: Negotiate\r\nPROXY-AUTHENTICATE:NTLM abc==\r\n"
      "Proxy-Authenticate: \"x\"\r\nProxy-Authenticate:\r\n\r\n");
  CHECK(read.status == 407);
  CHECK(read.schemes == "Negotiate, NTLM");
  std::string many = "HTTP/1.1 407 Who\r\n";
  for (int i = 0; i < 100; ++i) many += "Proxy-Authenticate: Scheme\r\n";
  CHECK(ReadCut(many + "\r\n", 0, 0).schemes.size() <= 80);
}

TEST_CASE("interim answers are passed over, and 101 is none") {
  const Read read = ReadEveryWay("HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx");
  CHECK(read.state == State::kHead);
  CHECK(read.status == 200);
  CHECK(ReadEveryWay("HTTP/1.1 101 Switch\r\n\r\nx").status == 101);
}

TEST_CASE("what is no head of HTTP/1 is broken, however it is cut") {
  using namespace std::string_view_literals;
  for (const std::string_view text : {"HTTP/2 200 OK\r\n"sv,
                                      "HTTP/1.1 200 OK\n"sv,
                                      "HTTP/1.1  200 OK\r\n"sv,
                                      "HTTP/1.1 20 OK\r\n"sv,
                                      "HTTP/1.1 2000 OK\r\n"sv,
                                      "HTTP/1.1 099 OK\r\n"sv,
                                      "HTTP/1.1 600 OK\r\n"sv,
                                      "HTTP/1.1 2x0 OK\r\n"sv,
                                      "http/1.1 200 OK\r\n"sv,
                                      "\r\n"sv,
                                      "HTTP/1.1 200 O\0K\r\n"sv,
                                      "HTTP/1.1 200 O\rK\r\n"sv,
                                      "HTTP/1.1 200 OK\r\nA : b\r\n"sv,
                                      "HTTP/1.1 200 OK\r\n: b\r\n"sv,
                                      "HTTP/1.1 200 OK\r\nA b\r\n"sv,
                                      "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n"sv,
                                      "HTTP/1.1 200 OK\r\nA: b\x7f\r\n"sv,
                                      "HTTP/1.1 200 OK\r\n\n"sv,
                                      "SSH-2.0-OpenSSH\r\n"sv,
                                      "\x16\x03\x01\n"sv}) {
    CAPTURE(std::string(text));
    CHECK(ReadEveryWay(text).state == State::kBroken);
  }
}

TEST_CASE("an answer without an end is broken at its bound, in one line or in many") {
  ConnectReply line;
  const std::string text(2 * ConnectReply::kMaxHead, 'a');
  CHECK(line.Feed(text) <= ConnectReply::kMaxHead + 1);
  CHECK(line.state() == State::kBroken);
  ConnectReply lines;
  lines.Feed("HTTP/1.1 200 OK\r\n");
  for (size_t i = 0; i < ConnectReply::kMaxHead && lines.state() == State::kMore; ++i) {
    lines.Feed("A: b\r\n");
  }
  CHECK(lines.state() == State::kBroken);
  ConnectReply interim;
  for (size_t i = 0; i < ConnectReply::kMaxHead && interim.state() == State::kMore; ++i) {
    interim.Feed("HTTP/1.1 100 Continue\r\n\r\n");
  }
  CHECK(interim.state() == State::kBroken);
}

}  // namespace
}  // namespace sallyport::runtime
