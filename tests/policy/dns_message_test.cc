#include "policy/dns_message.h"

#include <catch2/catch.hpp>
#include <string>

namespace sallyport::policy::dns {
namespace {

// Bytes from hex digits; blanks and "# comment" lines between them are left out.
std::string Hex(std::string_view text) {
  std::string bytes;
  int high = -1;
  bool comment = false;
  for (const char c : text) {
    if (c == '#') comment = true;
    if (c == '\n') comment = false;
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (comment || digit < 0) continue;
    if (high < 0) {
      high = digit;
    } else {
      bytes += static_cast<char>(high << 4 | digit);
      high = -1;
    }
  }
  return bytes;
}

HostName Name(std::string_view text) {
  return *HostName::Parse(text);
}

const char kHeader[] = R"(
  1234 0100        # id, recursion desired
  0001 0000 0000)";  // One question, no answers, no authorities.
const char kQuestion[] = R"(
  03 777777 07 6578616d706c65 03 636f6d 00   # www.example.com
  0001 0001)";       // A, IN.
const char kOpt[] = R"(
  00 0029 04d0 00000000 0000                 # root, OPT, 1232 bytes, no flags, no options)";

std::string PlainQuery() {
  return Hex(kHeader) + Hex("0000") + Hex(kQuestion);
}
std::string EdnsQuery() {
  return Hex(kHeader) + Hex("0001") + Hex(kQuestion) + Hex(kOpt);
}

Query Parsed(std::string_view message) {
  const ParsedQuery parsed = ParseQuery(message);
  REQUIRE(parsed.outcome == ParsedQuery::Outcome::kQuery);
  return parsed.query;
}

TEST_CASE("a query is read") {
  const Query plain = Parsed(PlainQuery());
  CHECK(plain.id == 0x1234);
  CHECK(plain.recursion_desired);
  CHECK(plain.name == "www.example.com");
  CHECK(plain.type == kTypeA);
  CHECK_FALSE(plain.edns);
  CHECK(plain.udp_size == 512);
  const Query edns = Parsed(EdnsQuery());
  CHECK(edns.edns);
  CHECK(edns.udp_size == 1232);
}

TEST_CASE("the question is answered as it was spelled") {
  std::string message = PlainQuery();
  message[13] = 'W';  // wWw: some clients mix the case against forgers.
  const Query query = Parsed(message);
  CHECK(query.name == "www.example.com");
  CHECK(BuildResponse(query, {}, 512).substr(12, query.question.size()) == message.substr(12));
}

TEST_CASE("every cut of a query is refused or ignored") {
  const std::string message = EdnsQuery();
  for (size_t length = 0; length < message.size(); ++length) {
    INFO(length);
    const ParsedQuery parsed = ParseQuery(message.substr(0, length));
    CHECK(parsed.outcome ==
          (length < 12 ? ParsedQuery::Outcome::kIgnore : ParsedQuery::Outcome::kMalformed));
  }
}

TEST_CASE("what is no query gets the code for it, or no answer") {
  std::string response = PlainQuery();
  response[2] = static_cast<char>(0x81);
  CHECK(ParseQuery(response).outcome == ParsedQuery::Outcome::kIgnore);
  std::string update = PlainQuery();
  update[2] = 0x28;  // Opcode 5.
  CHECK(ParseQuery(update).outcome == ParsedQuery::Outcome::kMalformed);
  CHECK(ParseQuery(update).rcode == Rcode::kNotImp);
  // With the opcode of the question: a client would pass over another, and wait.
  Answer refusal;
  refusal.rcode = Rcode::kNotImp;
  const std::string refused = BuildResponse(ParseQuery(update).query, refusal, 512);
  CHECK(static_cast<uint8_t>(refused.at(2)) == (0x80 | 0x28));
  std::string two = PlainQuery();
  two[5] = 2;
  CHECK(ParseQuery(two).rcode == Rcode::kFormErr);
  std::string chaos = PlainQuery();
  chaos[chaos.size() - 1] = 3;
  CHECK(ParseQuery(chaos).rcode == Rcode::kRefused);
}

TEST_CASE("compression pointers never loop or lead forward") {
  for (const char* name : {"c00c", "c00d", "01 61 c00c", "c0ff", "ffff", "01 61 c00e 0000"}) {
    INFO(name);
    CHECK(ParseQuery(Hex(kHeader) + Hex("0000") + Hex(name) + Hex("0001 0001")).outcome ==
          ParsedQuery::Outcome::kMalformed);
  }
}

TEST_CASE("names longer than the DNS allows are refused") {
  std::string name;
  for (int i = 0; i < 5; ++i) name += std::string(1, 63) + std::string(63, 'a');
  CHECK(ParseQuery(Hex(kHeader) + Hex("0000") + name + std::string(1, '\0') + Hex("0001 0001"))
            .outcome == ParsedQuery::Outcome::kMalformed);
  CHECK(ParseQuery(Hex(kHeader) + Hex("0000 40 61 00 0001 0001")).outcome ==
        ParsedQuery::Outcome::kMalformed);
}

TEST_CASE("bytes that no host name has are escaped, so that no name looks like another") {
  const Query query =
      Parsed(Hex(kHeader) + Hex("0000 03 612e62 01 00 00 0001 0001"));  // "a.b" and NUL.
  CHECK(query.name == "a\\046b.\\000");
  CHECK_FALSE(HostName::Parse(query.name));
}

TEST_CASE("addresses of the asked family are answered") {
  Answer answer;
  answer.addresses = {*IpAddress::Parse("198.18.0.1"), *IpAddress::Parse("2001:db8::1")};
  answer.ttl = 60;
  CHECK(BuildResponse(Parsed(PlainQuery()), answer, 512) ==
        Hex(R"(1234 8180 0001 0001 0000 0000)") + Hex(kQuestion) +
            Hex("c00c 0001 0001 0000003c 0004 c6120001"));
}

TEST_CASE("a negative answer carries an SOA of at most five seconds") {
  for (const Rcode rcode : {Rcode::kNoError, Rcode::kNxDomain}) {
    Answer answer;
    answer.rcode = rcode;
    answer.ttl = 3600;
    const std::string response = BuildResponse(Parsed(PlainQuery()), answer, 512);
    CHECK(static_cast<uint8_t>(response[3]) == (0x80 | static_cast<uint8_t>(rcode)));
    CHECK(response.substr(6, 6) == Hex("0000 0001 0000"));
    CHECK(response.substr(response.size() - 4) == Hex("00000005"));
  }
}

TEST_CASE("a failure carries no SOA") {
  for (const Rcode rcode : {Rcode::kServFail, Rcode::kRefused, Rcode::kFormErr}) {
    Answer answer;
    answer.rcode = rcode;
    CHECK(BuildResponse(Parsed(PlainQuery()), answer, 512).substr(6, 6) == Hex("0000 0000 0000"));
  }
}

TEST_CASE("an extended error goes to those who speak EDNS") {
  Answer answer;
  answer.rcode = Rcode::kNxDomain;
  answer.extended_error = kEdeBlocked;
  answer.extended_text = "no rule";
  const std::string with = BuildResponse(Parsed(EdnsQuery()), answer, 512);
  CHECK(with.find(Hex("000f 0009 000f") + "no rule") != std::string::npos);
  CHECK(BuildResponse(Parsed(PlainQuery()), answer, 512).find("no rule") == std::string::npos);
  answer.extended_text = std::string(5000, 'x');
  CHECK(BuildResponse(Parsed(EdnsQuery()), answer, 512).size() < 512);
}

TEST_CASE("an answer too large for the client is cut to a question with TC") {
  Answer answer;
  for (uint32_t i = 0; i < 100; ++i) answer.addresses.push_back(IpAddress::V4(0xc6120000 + i));
  const Query query = Parsed(PlainQuery());
  const std::string cut = BuildResponse(query, answer, query.udp_size);
  CHECK(cut == Hex("1234 8380 0001 0000 0000 0000") + Hex(kQuestion));
  CHECK(BuildResponse(query, answer, 65535).size() == 12 + query.question.size() + 100 * 16);
}

TEST_CASE("a malformed query is answered with its id alone") {
  const ParsedQuery parsed = ParseQuery(Hex(kHeader) + Hex("0000 ff"));
  Answer answer;
  answer.rcode = parsed.rcode;
  CHECK(BuildResponse(parsed.query, answer, 512) == Hex("1234 8181 0000 0000 0000 0000"));
}

TEST_CASE("our own query asks with recursion and EDNS") {
  CHECK(BuildQuery(0xabcd, Name("www.example.com"), kTypeAaaa) ==
        Hex("abcd 0100 0001 0000 0000 0001 03777777 076578616d706c65 03636f6d 00 001c 0001") +
            Hex(kOpt));
}

const char kAnswerHeader[] = "0000 8180 0001 ";

std::string ResponseOf(std::string_view counts, std::string_view records) {
  return Hex(kAnswerHeader) + Hex(counts) + Hex(kQuestion) + Hex(records);
}

TEST_CASE("addresses are found behind the chain of aliases") {
  const auto answer = ParseResponse(ResponseOf("0003 0000 0000", R"(
      c00c 0005 0001 00000100 0006 03 63646e c010   # CNAME cdn.example.com
      c02d 0001 0001 00000020 0004 cb007105         # cdn.example.com A 203.0.113.5
      c010 0001 0001 00000010 0004 cb007106         # example.com A: not asked for)"),
                                    Name("www.example.com"), kTypeA);
  REQUIRE(answer);
  REQUIRE(answer->addresses.size() == 1);
  CHECK(answer->addresses[0].ToString() == "203.0.113.5");
  REQUIRE(answer->chain.size() == 1);
  CHECK(answer->chain[0].text() == "cdn.example.com");
  CHECK(answer->ttl == 0x20);
}

TEST_CASE("an answer to another question, or none, is refused") {
  const std::string good = ResponseOf("0001 0000 0000", "c00c 0001 0001 00000020 0004 cb007105");
  REQUIRE(ParseResponse(good, Name("www.example.com"), kTypeA));
  CHECK_FALSE(ParseResponse(good, Name("www.example.org"), kTypeA));
  CHECK_FALSE(ParseResponse(good, Name("www.example.com"), kTypeAaaa));
  CHECK_FALSE(ParseResponse(PlainQuery(), Name("www.example.com"), kTypeA));
  for (size_t length = 0; length < good.size(); ++length) {
    INFO(length);
    CHECK_FALSE(ParseResponse(good.substr(0, length), Name("www.example.com"), kTypeA));
  }
}

TEST_CASE("an address of the wrong length, and a loop of aliases, are malformed") {
  CHECK_FALSE(ParseResponse(ResponseOf("0001 0000 0000", "c00c 0001 0001 00000020 0005 cb00710500"),
                            Name("www.example.com"), kTypeA));
  CHECK_FALSE(ParseResponse(ResponseOf("0001 0000 0000", "c00c 0005 0001 00000020 0002 c00c"),
                            Name("www.example.com"), kTypeA));
  CHECK_FALSE(ParseResponse(ResponseOf("ffff 0000 0000", "c00c 0001 0001 00000020 0004 cb007105"),
                            Name("www.example.com"), kTypeA));
}

TEST_CASE("failures and truncation of a resolver are passed on") {
  std::string missing = ResponseOf("0000 0000 0000", "");
  missing[3] = static_cast<char>(0x83);
  CHECK(ParseResponse(missing, Name("www.example.com"), kTypeA)->rcode == Rcode::kNxDomain);
  std::string cut = ResponseOf("0000 0000 0000", "");
  cut[2] = static_cast<char>(0x83);
  CHECK(ParseResponse(cut, Name("www.example.com"), kTypeA)->truncated);
}

TEST_CASE("a long extended error ends with a whole character") {
  Answer answer;
  answer.extended_error = kEdeBlocked;
  answer.extended_text = std::string(199, 'x') + "\xc3\xa9";
  const std::string response = BuildResponse(Parsed(EdnsQuery()), answer, 4096);
  CHECK(response.ends_with(std::string(199, 'x')));
}

TEST_CASE("types have names") {
  CHECK(TypeName(1) == "A");
  CHECK(TypeName(65) == "HTTPS");
  CHECK(TypeName(65280) == "TYPE65280");
  CHECK(ParseTypeName("txt") == uint16_t{16});
  CHECK(ParseTypeName("TYPE65280") == uint16_t{65280});
  for (const char* text : {"", "X", "TYPE", "TYPE65536", "TYPE1x", "TYPE-1"}) {
    INFO(text);
    CHECK_FALSE(ParseTypeName(text));
  }
}

}  // namespace
}  // namespace sallyport::policy::dns
