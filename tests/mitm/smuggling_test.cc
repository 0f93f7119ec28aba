// Requests on which servers are known to disagree. Each is refused, with nothing of it at the
// origin, or reaches the origin as exactly the bytes that stand here; a request hidden in another
// one is never seen there as one.

#include <catch2/catch.hpp>
#include <mutex>
#include <string>
#include <vector>

#include "tests/mitm/harness.h"

namespace sallyport::mitm {
namespace {

using namespace std::string_literals;

/// Keeps every byte that arrives, and answers each complete request of the one form in which the
/// gate writes them.
class RecordingOrigin {
 public:
  void operator()(Origin::Connection& connection) {
    std::string bytes;
    for (std::string more = connection.Read(); !more.empty(); more = connection.Read()) {
      {
        const std::lock_guard lock(mutex_);
        received_ += more;
      }
      bytes += more;
      for (size_t size = Complete(bytes); size > 0; size = Complete(bytes)) {
        const bool to_head = bytes.starts_with("HEAD ");
        bytes.erase(0, size);
        connection.Write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"s + (to_head ? "" : "ok"));
      }
    }
  }
  std::string received() {
    const std::lock_guard lock(mutex_);
    return received_;
  }

 private:
  /// The size of the request that BYTES begin with; 0 while it is not complete.
  static size_t Complete(const std::string& bytes) {
    const size_t head = bytes.find("\r\n\r\n");
    if (head == std::string::npos) return 0;
    const size_t body = head + 4;
    const size_t length = bytes.find("\r\nContent-Length: ");
    if (length < head) {
      const size_t size = body + std::strtoul(bytes.c_str() + length + 18, nullptr, 10);
      return bytes.size() >= size ? size : 0;
    }
    if (bytes.find("\r\nTransfer-Encoding: chunked") >= head) return body;
    const size_t end = bytes.find("0\r\n\r\n", body);
    return end == std::string::npos ? 0 : end + 5;
  }

  std::mutex mutex_;
  std::string received_;
};

struct Case {
  const char* what;
  std::string sent;
  std::string statuses;  ///< Of all answers, in order.
  std::string received;  ///< By the origin.
};

struct Outcome {
  std::string statuses;
  std::string received;
};

/// kBoth: TLS, to an origin that would speak HTTP/2 as well.
enum class Wire { kPlain, kBoth };

/// Sends BYTES and an end, and waits until the connection is over.
Outcome Send(const std::string& bytes, Wire wire = Wire::kPlain) {
  RecordingOrigin recorder;
  Outcome outcome;
  {
    TestGate gate([&recorder](Origin::Connection& connection) { recorder(connection); },
                  wire == Wire::kBoth ? &ApiCertificate() : nullptr,
                  wire == Wire::kBoth ? "\x02h2\x08http/1.1" : "");
    auto guest = wire == Wire::kBoth ? gate.Open() : gate.OpenPlain();
    gate.RunUntil([&] { return guest->up(); });
    guest->Send(bytes);
    guest->CloseWrite();
    gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
    gate.RunUntil([&] { return guest->ended() || guest->broken(); });
    const std::string& answers = guest->received;
    for (size_t at = answers.find("HTTP/1.1 "); at != std::string::npos;
         at = answers.find("HTTP/1.1 ", at + 9)) {
      outcome.statuses += (outcome.statuses.empty() ? "" : " ") + answers.substr(at + 9, 3);
    }
  }  // The origin's threads have ended: all that was sent has been read.
  outcome.received = recorder.received();
  return outcome;
}

const std::string kHost = "Host: api.test\r\n";
const std::string kPost = "POST /p HTTP/1.1\r\n" + kHost;
const std::string kGet = "GET /g HTTP/1.1\r\n" + kHost;
const std::string kNext = "GET /next HTTP/1.1\r\n" + kHost + "\r\n";
const std::string kChunked = "Transfer-Encoding: chunked\r\n";
const std::string kLast = "0\r\n\r\n";
/// What the origin receives of a chunked "hello".
const std::string kHello = kPost + kChunked + "\r\n5\r\nhello\r\n" + kLast;

TEST_CASE("two ways to tell a body's length are refused") {
  const Case cases[] = {
      {"CL.TE", kPost + "Content-Length: 6\r\n" + kChunked + "\r\n" + kLast + "X" + kNext, "400",
       ""},
      {"TE.CL", kPost + kChunked + "Content-Length: 4\r\n\r\n5c\r\n" + kNext + kLast, "400", ""},
      {"CL.0 with TE", kPost + "Content-Length: 0\r\n" + kChunked + "\r\n" + kLast + kNext, "400",
       ""},
      {"CL and an unknown TE",
       kPost + "Content-Length: 4\r\nTransfer-Encoding: x\r\n\r\nabcd" + kNext, "400", ""},
      {"CL and TE of other case",
       kPost + "content-length: 4\r\ntransfer-encoding: CHUNKED\r\n\r\n" + kLast, "400", ""},
      {"TE.TE, the second unknown", kPost + kChunked + "Transfer-Encoding: x\r\n\r\n" + kLast,
       "400", ""},
      {"TE.TE, the first unknown", kPost + "Transfer-Encoding: x\r\n" + kChunked + "\r\n" + kLast,
       "400", ""},
      {"TE.TE, both chunked", kPost + kChunked + kChunked + "\r\n" + kLast, "400", ""},
      {"TE.TE, the second empty", kPost + kChunked + "Transfer-Encoding:\r\n\r\n" + kLast, "400",
       ""},
      {"CL.CL", kPost + "Content-Length: 4\r\nContent-Length: 0\r\n\r\nabcd" + kNext, "400", ""},
      {"CL.CL, equal", kPost + "Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd" + kNext, "400",
       ""},
      {"CL.CL in a list", kPost + "Content-Length: 4, 0\r\n\r\nabcd" + kNext, "400", ""},
      {"TE in HTTP/1.0", "POST /p HTTP/1.0\r\n" + kHost + kChunked + "\r\n" + kLast + kNext, "400",
       ""},
      {"CL and TE in HTTP/1.0",
       "POST /p HTTP/1.0\r\n" + kHost + "Content-Length: 5\r\n" + kChunked + "\r\n" + kLast, "400",
       ""},
      {"Transfer_Encoding", kPost + "Transfer_Encoding: chunked\r\n\r\n" + kLast + kNext, "400",
       ""},
      {"Content_Length", kPost + "Content_Length: 4\r\n\r\nabcd" + kNext, "400", ""},
      {"content_length beside CL",
       kPost + "Content-Length: 4\r\ncontent_length: 0\r\n\r\nabcd" + kNext, "400", ""},
  };
  for (const Case& row : cases) {
    INFO(row.what);
    const Outcome outcome = Send(row.sent);
    CHECK(outcome.statuses == row.statuses);
    CHECK(outcome.received == row.received);
  }
}

TEST_CASE("spellings of framing that servers read differently are refused") {
  const auto te = [](const std::string& value) {
    return kPost + "Transfer-Encoding:" + value + "\r\n\r\n" + kLast + kNext;
  };
  const auto cl = [](const std::string& value) {
    return kPost + "Content-Length:" + value + "\r\n\r\nabcd" + kNext;
  };
  const Case cases[] = {
      {"xchunked", te(" xchunked"), "400", ""},
      {"chunkedx", te(" chunkedx"), "400", ""},
      {"identity", te(" identity"), "400", ""},
      {"identity, chunked", te(" identity, chunked"), "400", ""},
      {"chunked, identity", te(" chunked, identity"), "400", ""},
      {"chunked, chunked", te(" chunked, chunked"), "400", ""},
      {"gzip, chunked", te(" gzip, chunked"), "400", ""},
      {"chunked with a parameter", te(" chunked;q=1"), "400", ""},
      {"chunked in quotes", te(" \"chunked\""), "400", ""},
      {"chunked with a comma", te(" chunked,"), "400", ""},
      {"a comma and chunked", te(" ,chunked"), "400", ""},
      {"a vertical tab",
       te(" \x0b"
          "chunked"),
       "400", ""},
      {"a form feed",
       te(" \x0c"
          "chunked"),
       "400", ""},
      {"a no-break space",
       te(" \xa0"
          "chunked"),
       "400", ""},
      {"a NUL behind", te(" chunked\0"s), "400", ""},
      {"a tab inside", te(" chun\tked"), "400", ""},
      {"plus", cl(" +4"), "400", ""},
      {"minus", cl(" -4"), "400", ""},
      {"minus zero", cl(" -0"), "400", ""},
      {"hexadecimal", cl(" 0x4"), "400", ""},
      {"an exponent", cl(" 4e0"), "400", ""},
      {"a fraction", cl(" 4.0"), "400", ""},
      {"two numbers", cl(" 4 4"), "400", ""},
      {"an underscore", cl(" 0_4"), "400", ""},
      {"a semicolon", cl(" 4;"), "400", ""},
      {"empty", cl(""), "400", ""},
      {"digits of another script", cl(" \xef\xbc\x94"), "400", ""},
      {"2^64 + 4", cl(" 18446744073709551620"), "400", ""},
      {"2^63", cl(" 9223372036854775808"), "400", ""},
      {"a space before the colon", kPost + "Transfer-Encoding : chunked\r\n\r\n" + kLast + kNext,
       "400", ""},
      {"a tab before the colon", kPost + "Content-Length\t: 4\r\n\r\nabcd" + kNext, "400", ""},
      {"a NUL in the name", kPost + "Content-Length\0: 4\r\n\r\nabcd"s + kNext, "400", ""},
      {"a folded first field", "POST /p HTTP/1.1\r\n " + kChunked + kHost + "\r\n" + kLast, "400",
       ""},
      {"a fold by space", kPost + "X: a\r\n Content-Length: 4\r\n\r\nabcd" + kNext, "400", ""},
      {"a fold by tab", kPost + "X: a\r\n\tTransfer-Encoding: chunked\r\n\r\n" + kLast + kNext,
       "400", ""},
      {"a folded value", kPost + "Transfer-Encoding:\r\n chunked\r\n\r\n" + kLast + kNext, "400",
       ""},
      {"a bare CR for a line end", kPost + "X: a\rTransfer-Encoding: chunked\r\n\r\n" + kLast,
       "400", ""},
      {"a bare LF for a line end", kPost + "X: a\nTransfer-Encoding: chunked\r\n\r\n" + kLast,
       "400", ""},
      {"bare LFs for the head's end", kPost + "X: a\n\n" + kNext, "400", ""},
      {"CR LF and a bare LF", kPost + "X: a\r\n\n" + kNext, "400", ""},
      {"CR CR LF", kPost + "X: a\r\r\n\r\n" + kNext, "400", ""},
      {"a field without a colon", kPost + "Content-Length 4\r\n\r\nabcd", "400", ""},
      {"an empty name", kPost + ": 4\r\n\r\n" + kNext, "400", ""},
  };
  for (const Case& row : cases) {
    INFO(row.what);
    const Outcome outcome = Send(row.sent);
    CHECK(outcome.statuses == row.statuses);
    CHECK(outcome.received == row.received);
  }
}

TEST_CASE("what has one meaning only is forwarded in one spelling") {
  const std::string plain = kPost + "Content-Length: 4\r\n\r\nabcd";
  const Case cases[] = {
      {"TE without a space", kPost + "Transfer-Encoding:chunked\r\n\r\n5\r\nhello\r\n" + kLast,
       "200", kHello},
      {"TE with white space around",
       kPost + "Transfer-Encoding: \t chunked \t\r\n\r\n5\r\nhello\r\n" + kLast, "200", kHello},
      {"TE of other case", kPost + "TRANSFER-ENCODING: ChunKed\r\n\r\n5\r\nhello\r\n" + kLast,
       "200", kHello},
      {"CL with zeros", kPost + "Content-Length: 0004\r\n\r\nabcd", "200", plain},
      {"CL with white space around", kPost + "content-length:\t 4 \r\n\r\nabcd", "200", plain},
      {"a chunk extension", kPost + kChunked + "\r\n5;a=b\r\nhello\r\n0;c\r\n\r\n", "200", kHello},
      {"a quoted chunk extension", kPost + kChunked + "\r\n5;a=\"0\r\nhello\r\n" + kLast, "200",
       kHello},
      {"a chunk size with zeros", kPost + kChunked + "\r\n0005\r\nhello\r\n000\r\n\r\n", "200",
       kHello},
      {"a body that looks like a request",
       kPost + "Content-Length: " + std::to_string(kNext.size()) + "\r\n\r\n" + kNext, "200",
       kPost + "Content-Length: " + std::to_string(kNext.size()) + "\r\n\r\n" + kNext},
      {"CL.0", kPost + "Content-Length: 0\r\n\r\n" + kNext, "200 200",
       kPost + "Content-Length: 0\r\n\r\n" + kNext},
      {"no length at all", kPost + "\r\n" + kNext, "200 200", kPost + "\r\n" + kNext},
      {"a GET with a body", kGet + "Content-Length: 4\r\n\r\nabcd" + kNext, "200 200",
       kGet + "Content-Length: 4\r\n\r\nabcd" + kNext},
      {"a HEAD with a body",
       "HEAD /h HTTP/1.1\r\n" + kHost + "Content-Length: 4\r\n\r\nabcd" + kNext, "200 200",
       "HEAD /h HTTP/1.1\r\n" + kHost + "Content-Length: 4\r\n\r\nabcd" + kNext},
      {"empty lines first", "\r\n\r\n" + kNext, "200", kNext},
      {"an empty line between", kGet + "\r\n\r\n" + kNext, "200 200", kGet + "\r\n" + kNext},
      {"HTTP/1.0 with keep-alive, of which one is served",
       "POST /p HTTP/1.0\r\n" + kHost + "Connection: keep-alive\r\nContent-Length: 4\r\n\r\nabcd" +
           kNext,
       "200", plain},
      {"an upgrade to h2c",
       kGet +
           "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: "
           "AAMAAABk\r\n\r\n" +
           kNext,
       "200 200", kGet + "\r\n" + kNext},
      {"an upgrade to h2c with a body",
       kPost + "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 4\r\n\r\nabcd" + kNext,
       "200 200", plain + kNext},
      {"fields of the hop",
       kGet +
           "Keep-Alive: 9\r\nProxy-Connection: close\r\nTE: chunked\r\n"
           "Trailer: Content-Length\r\nProxy-Authorization: Basic YTpi\r\n\r\n" +
           kNext,
       "200 200", kGet + "\r\n" + kNext},
      {"trailers that say what a request is",
       kPost + kChunked +
           "\r\n5\r\nhello\r\n0\r\nAuthorization: x\r\ncontent_type: a\r\n"
           "X-Forwarded-For: 1.2.3.4\r\nX-HTTP-Method-Override: DELETE\r\nRange: b\r\n\r\n",
       "200", kHello},
      {"an absolute target", "GET http://API.test:80/g HTTP/1.1\r\n" + kHost + "\r\n", "200",
       kGet + "\r\n"},
      {"an absolute target without a path", "GET http://api.test?q HTTP/1.1\r\n" + kHost + "\r\n",
       "200", "GET /?q HTTP/1.1\r\n" + kHost + "\r\n"},
      {"a method to override the method", kPost + "X-HTTP-Method-Override: DELETE\r\n\r\n", "200",
       kPost + "X-HTTP-Method-Override: DELETE\r\n\r\n"},
      {"100-continue with its body at once",
       kPost + "Expect: 100-continue\r\nContent-Length: 4\r\n\r\nabcd" + kNext, "100 200 200",
       plain + kNext},
      {"100-continue without a body", kGet + "Expect: 100-continue\r\n\r\n" + kNext, "200 200",
       kGet + "\r\n" + kNext},
      {"OPTIONS *", "OPTIONS * HTTP/1.1\r\n" + kHost + "\r\n" + kNext, "200 200",
       "OPTIONS * HTTP/1.1\r\n" + kHost + "\r\n" + kNext},
  };
  for (const Case& row : cases) {
    INFO(row.what);
    const Outcome outcome = Send(row.sent);
    CHECK(outcome.statuses == row.statuses);
    CHECK(outcome.received == row.received);
    if (Contains(row.sent, "http://")) continue;  // Is of the plain scheme.
    // A guest's HTTP/1 stays HTTP/1: nothing of it is translated, whatever the origin offers.
    const Outcome encrypted = Send(row.sent, Wire::kBoth);
    CHECK(encrypted.statuses == row.statuses);
    CHECK(encrypted.received == row.received);
  }
}

TEST_CASE("hosts, targets, versions and options that servers read differently are refused") {
  const auto get = [](const std::string& target) {
    return "GET " + target + " HTTP/1.1\r\n" + kHost + "\r\n" + kNext;
  };
  const Case cases[] = {
      {"two Hosts", "GET /g HTTP/1.1\r\n" + kHost + "Host: evil.test\r\n\r\n", "400", ""},
      {"two equal Hosts", "GET /g HTTP/1.1\r\n" + kHost + kHost + "\r\n", "400", ""},
      {"no Host", "GET /g HTTP/1.1\r\n\r\n", "400", ""},
      {"a list of Hosts", "GET /g HTTP/1.1\r\nHost: api.test, evil.test\r\n\r\n", "421", ""},
      {"a Host with a space", "GET /g HTTP/1.1\r\nHost: api.test evil.test\r\n\r\n", "421", ""},
      {"a Host with a user", "GET /g HTTP/1.1\r\nHost: evil.test@api.test\r\n\r\n", "421", ""},
      {"a Host with a path", "GET /g HTTP/1.1\r\nHost: api.test/evil\r\n\r\n", "421", ""},
      {"a Host with a bad port", "GET /g HTTP/1.1\r\nHost: api.test:80x\r\n\r\n", "421", ""},
      {"a folded Host", "GET /g HTTP/1.1\r\nHost:\r\n api.test\r\n\r\n", "400", ""},
      {"a Host with a space before its colon", "GET /g HTTP/1.1\r\nHost : api.test\r\n\r\n", "400",
       ""},
      {"an absolute target for another host", get("http://evil.test/"), "400", ""},
      {"an absolute target for another port", get("http://api.test:81/"), "400", ""},
      {"an absolute target with a user", get("http://api.test@evil.test/"), "400", ""},
      {"an absolute target of another scheme", get("https://api.test/"), "400", ""},
      {"an absolute target without a scheme", get("//evil.test/").replace(4, 0, "x:"), "400", ""},
      {"a space in the target", get("/a b"), "400", ""},
      {"a NUL in the target", get("/a\0b"s), "400", ""},
      {"a DEL in the target", get("/a\x7f"), "400", ""},
      {"a fragment", get("/a#b"), "400", ""},
      {"a tab in the request line", "GET\t/g HTTP/1.1\r\n" + kHost + "\r\n", "400", ""},
      {"two spaces", "GET  /g HTTP/1.1\r\n" + kHost + "\r\n", "400", ""},
      {"a space behind the version", "GET /g HTTP/1.1 \r\n" + kHost + "\r\n", "400", ""},
      {"HTTP/0.9", "GET /g\r\n" + kNext, "400", ""},
      {"HTTP/1.10", "GET /g HTTP/1.10\r\n" + kHost + "\r\n", "400", ""},
      {"HTTP/1.2", "GET /g HTTP/1.2\r\n" + kHost + "\r\n", "400", ""},
      {"HTTP/2.0", "GET /g HTTP/2.0\r\n" + kHost + "\r\n", "505", ""},
      {"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400", ""},
      {"three empty lines first", "\r\n\r\n\r\n" + kNext, "400", ""},
      {"Connection: content-length",
       kPost + "Connection: content-length\r\nContent-Length: 4\r\n\r\nabcd" + kNext, "400", ""},
      {"Connection: transfer-encoding",
       kPost + "Connection: transfer-encoding\r\n" + kChunked + "\r\n" + kLast + kNext, "400", ""},
      {"Connection: host", kGet + "Connection: close, Host\r\n\r\n", "400", ""},
      {"Connection: x-forwarded-for", kGet + "Connection: x-forwarded-for\r\n\r\n", "400", ""},
      {"another expectation", kPost + "Expect: 200-ok\r\nContent-Length: 4\r\n\r\nabcd", "417", ""},
      {"CONNECT", "CONNECT api.test:80 HTTP/1.1\r\n" + kHost + "\r\n" + kNext, "501 200", kNext},
      {"TRACE", "TRACE /g HTTP/1.1\r\n" + kHost + "\r\n" + kNext, "501 200", kNext},
      {"TRACK", "TRACK /g HTTP/1.1\r\n" + kHost + "\r\n" + kNext, "501 200", kNext},
  };
  for (const Case& row : cases) {
    INFO(row.what);
    const Outcome outcome = Send(row.sent);
    CHECK(outcome.statuses == row.statuses);
    CHECK(outcome.received == row.received);
  }
}

TEST_CASE("a body whose chunks can be read in two ways never arrives as complete") {
  const std::pair<const char*, std::string> bodies[] = {
      {"no size", "\r\nhello\r\n" + kLast},
      {"a signed size", "+5\r\nhello\r\n" + kLast},
      {"a negative size", "-5\r\nhello\r\n" + kLast},
      {"a size with a prefix", "0x5\r\nhello\r\n" + kLast},
      {"a space behind a size", "5 \r\nhello\r\n" + kLast},
      {"a space before a size", " 5\r\nhello\r\n" + kLast},
      {"a tab before an extension", "5\t;a\r\nhello\r\n" + kLast},
      {"a size of 2^64", "10000000000000000\r\nhello\r\n" + kLast},
      {"a size of 2^64 + 5", "10000000000000005\r\nhello\r\n" + kLast},
      {"a size with many zeros", "0000000000000005\r\nhello\r\n" + kLast},
      {"a size with a bare LF", "5\nhello\r\n" + kLast},
      {"a size with a bare CR", "5\rhello\r\n" + kLast},
      {"an extension with a bare LF", "5;a\nhello\r\n" + kLast},
      {"an extension with a bare CR", "5;a\rhello\r\n" + kLast},
      {"an extension that ends in CR CR LF", "5;a\r\r\nhello\r\n" + kLast},
      {"an extension with a NUL", "5;a\0\r\nhello\r\n"s + kLast},
      {"an endless extension", "5;" + std::string(300, 'a') + "\r\nhello\r\n" + kLast},
      {"more data than the size", "2\r\nhello\r\n" + kLast},
      {"data without its line end", "5\r\nhello0\r\n\r\n"},
      {"data with a bare LF", "5\r\nhello\n" + kLast},
      {"data with a bare CR", "5\r\nhello\r0\r\n\r\n"},
      {"a last chunk with a bare LF", "5\r\nhello\r\n0\n\r\n"},
      {"a last chunk with a space", "5\r\nhello\r\n0 \r\n\r\n"},
      {"a trailer of framing", "5\r\nhello\r\n0\r\nContent-Length: 99\r\n\r\n" + kNext},
      {"a trailer of a host", "5\r\nhello\r\n0\r\nhost: evil\r\n\r\n" + kNext},
      {"a trailer of framing to some", "5\r\nhello\r\n0\r\nTransfer_Encoding: x\r\n\r\n"},
      {"a folded trailer", "5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n"},
      {"a trailer without a colon", "5\r\nhello\r\n0\r\nabc\r\n\r\n"},
      {"a trailer with a space before its colon", "5\r\nhello\r\n0\r\nA : b\r\n\r\n"},
      {"a trailer with a bare LF", "5\r\nhello\r\n0\r\nA: b\n\r\n"},
      {"a request in place of trailers", "5\r\nhello\r\n0\r\n" + kNext},
      {"no end of a chunk", "5\r\nhel"},
      {"no last chunk", "5\r\nhello\r\n"},
  };
  for (const auto& [what, body] : bodies) {
    INFO(what);
    const bool cut = std::string(what).starts_with("no ") && !body.ends_with(kLast);
    const Outcome outcome = Send(kPost + kChunked + "\r\n" + body + (cut ? "" : kNext));
    INFO(outcome.received);
    CHECK(outcome.statuses == (cut ? "" : "400"));
    CHECK_FALSE(Contains(outcome.received, "\r\n0\r\n"));
    CHECK_FALSE(Contains(outcome.received, "/next"));
  }
}

}  // namespace
}  // namespace sallyport::mitm
