#include "policy/dns_records.h"

#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

namespace sallyport::policy::dns {
namespace {

constexpr uint16_t kNs = 2, kPtr = 12, kMx = 15, kTxt = 16, kSrv = 33, kCaa = 257;

HostName Name(std::string_view text) {
  return *HostName::Parse(text);
}

std::string U16(unsigned value) {
  return {static_cast<char>(value >> 8 & 0xff), static_cast<char>(value & 0xff)};
}

// "a.example" as labels behind their lengths, without the end.
std::string Labels(std::string_view name) {
  std::string out;
  while (!name.empty()) {
    const std::string_view label = name.substr(0, name.find('.'));
    out += static_cast<char>(label.size());
    out += label;
    name.remove_prefix(std::min(name.size(), label.size() + 1));
  }
  return out;
}
std::string Wire(std::string_view name) {
  return Labels(name) + '\0';
}

struct Entry {
  std::string owner;
  uint16_t type;
  std::string data;
  uint32_t ttl = 60;
};

// The response to a question for TYPE of NAME; the name of the question stands at offset 12.
std::string Response(std::string_view name, uint16_t type, const std::vector<Entry>& entries,
                     unsigned flags = 0x8180) {
  std::string out = U16(7) + U16(flags) + U16(1) + U16(static_cast<unsigned>(entries.size())) +
                    U16(0) + U16(0) + Wire(name) + U16(type) + U16(1);
  for (const Entry& entry : entries) {
    out += Wire(entry.owner) + U16(entry.type) + U16(1) + U16(entry.ttl >> 16) +
           U16(entry.ttl & 0xffff) + U16(static_cast<unsigned>(entry.data.size())) + entry.data;
  }
  return out;
}

const std::string kPointer = "\xc0\x0c";  // To the question's name.

TEST_CASE("records are read, and names in them are made whole") {
  const struct {
    uint16_t type;
    std::string data, whole;
  } kCases[] = {
      {kTxt, std::string("\x05hello\x00\x01x", 9), std::string("\x05hello\x00\x01x", 9)},
      {kMx, U16(10) + "\x04mail" + kPointer, U16(10) + Wire("mail.a.example")},
      {kSrv, U16(1) + U16(2) + U16(443) + kPointer, U16(1) + U16(2) + U16(443) + Wire("a.example")},
      {kNs, Wire("NS1.b.example"), Wire("NS1.b.example")},
      {kCaa, std::string("\x00\x05issueletsencrypt.org", 22),
       std::string("\x00\x05issueletsencrypt.org", 22)},
      {kTypeSoa, kPointer + Wire("x.example") + std::string(20, 'n'),
       Wire("a.example") + Wire("x.example") + std::string(20, 'n')},
      {65280, "any bytes", "any bytes"},
      {65280, "", ""},
  };
  for (const auto& one : kCases) {
    INFO(one.type);
    const auto answer =
        ParseRecords(Response("a.example", one.type, {{"a.example", one.type, one.data}}),
                     Name("a.example"), one.type);
    REQUIRE(answer);
    CHECK(answer->data == std::vector<std::string>{one.whole});
    CHECK(answer->ttl == 60);
    CHECK(answer->chain.empty());
  }
}

TEST_CASE("data that a type does not have is refused") {
  const std::pair<uint16_t, std::string> kCases[] = {
      {kTxt, ""},
      {kTxt, "\x05hell"},
      {kMx, U16(10)},
      {kMx, U16(10) + Wire("a.example") + "x"},
      {kSrv, U16(1) + U16(2) + Wire("example")},
      {kNs, "\xc0\xff"},
      {kNs, "\x04" "abc"},
      {kTypeSoa, Wire("a") + Wire("b") + std::string(19, 'n')},
      {kCaa, "\x00"},
      {kTypeA, "abc"},
      {kTypeAaaa, "abcd"},
      {kTypeCname, Wire("a.example") + "x"},
  };
  for (const auto& [type, data] : kCases) {
    INFO(type << " with " << data.size());
    CHECK_FALSE(ParseRecords(Response("a.example", type, {{"a.example", type, data}}),
                             Name("a.example"), type));
  }
}

TEST_CASE("records behind aliases are the name's, and only those") {
  const std::vector<Entry> entries = {{"a.example", kTypeCname, Wire("b.example"), 40},
                                      {"b.example", kTypeCname, Wire("c.example"), 50},
                                      {"c.example", kTxt, "\x01" "c", 30},
                                      {"a.example", kTxt, "\x01" "a", 1},
                                      {"other.example", kTxt, "\x01" "o", 1}};
  const auto answer =
      ParseRecords(Response("a.example", kTxt, entries), Name("a.example"), kTxt);
  REQUIRE(answer);
  CHECK(answer->data == std::vector<std::string>{"\x01" "c"});
  CHECK(answer->chain == std::vector<HostName>{Name("b.example"), Name("c.example")});
  CHECK(answer->ttl == 30);
}

TEST_CASE("the alias itself can be asked for") {
  const auto answer = ParseRecords(
      Response("a.example", kTypeCname, {{"a.example", kTypeCname, Wire("b.example")}}),
      Name("a.example"), kTypeCname);
  REQUIRE(answer);
  CHECK(answer->data == std::vector<std::string>{Wire("b.example")});
  CHECK(answer->chain == std::vector<HostName>{Name("b.example")});
}

TEST_CASE("an answer of records has a bound") {
  const std::string text = '\xff' + std::string(255, 'x');
  const size_t most = kMaxRecordBytes / text.size();
  std::vector<Entry> entries(most, {"a.example", kTxt, text});
  const auto full = ParseRecords(Response("a.example", kTxt, entries), Name("a.example"), kTxt);
  REQUIRE(full);
  CHECK(full->data.size() == most);
  entries.push_back(entries.front());
  CHECK_FALSE(ParseRecords(Response("a.example", kTxt, entries), Name("a.example"), kTxt));
}

TEST_CASE("every cut of an answer is refused, and so is one to another question") {
  const std::string message = Response(
      "a.example", kMx, {{"a.example", kMx, U16(10) + "\x04mail" + kPointer}});
  for (size_t length = 0; length < message.size(); ++length) {
    INFO(length);
    CHECK_FALSE(ParseRecords(message.substr(0, length), Name("a.example"), kMx));
  }
  CHECK(ParseRecords(message, Name("a.example"), kMx));
  CHECK_FALSE(ParseRecords(message, Name("b.example"), kMx));
  CHECK_FALSE(ParseRecords(message, Name("a.example"), kTxt));
}

TEST_CASE("what is built for the guest is read back, or cut to TC") {
  const ParsedQuery parsed = ParseQuery(BuildQuery(9, Name("a.example"), kMx));
  REQUIRE(parsed.outcome == ParsedQuery::Outcome::kQuery);
  Answer answer;
  answer.ttl = 30;
  answer.records = {U16(10) + Wire("mail.a.example"), U16(20) + Wire("b.example")};
  const auto read =
      ParseRecords(BuildResponse(parsed.query, answer, 512), Name("a.example"), kMx);
  REQUIRE(read);
  CHECK(read->data == answer.records);
  CHECK(read->ttl == 30);
  const auto cut = ParseRecords(BuildResponse(parsed.query, answer, 40), Name("a.example"), kMx);
  REQUIRE(cut);
  CHECK(cut->truncated);
  CHECK(cut->data.empty());
}

TEST_CASE("types that stand in queries or lead past the gate can't be granted") {
  for (const int type : {0, 1, 28, 41, 64, 65, 128, 249, 250, 251, 252, 253, 254, 255, 65535}) {
    INFO(type);
    CHECK_FALSE(IsGrantableType(static_cast<uint16_t>(type)));
  }
  for (const int type : {2, 5, 6, 12, 15, 16, 33, 43, 52, 127, 256, 257, 65280}) {
    INFO(type);
    CHECK(IsGrantableType(static_cast<uint16_t>(type)));
  }
}

NameVerdict Granting(std::vector<uint16_t> types, AddressFilter filter = {}) {
  NameVerdict verdict;
  verdict.grantable = true;
  verdict.types = std::move(types);
  verdict.filter = std::move(filter);
  return verdict;
}

TEST_CASE("a type that no rule grants is refused, with the rule that would") {
  CHECK_FALSE(RefuseRecords(Name("a.example"), kTxt, Granting({kMx, kTxt})));
  CHECK_FALSE(RefuseRecords(Name("a.example"), kTypeA, Granting({})));
  const auto refusal = RefuseRecords(Name("a.example"), kTxt, Granting({kMx}));
  REQUIRE(refusal);
  CHECK(refusal->reason == Reason::kNotGranted);
  CHECK(refusal->how_to_allow == "allow.dns { host = \"a.example\", types = { \"TXT\" } }");
  // Whatever a callback says.
  const auto https = RefuseRecords(Name("a.example"), kTypeHttps, Granting({kTypeHttps, 255}));
  REQUIRE(https);
  CHECK(https->how_to_allow.empty());
  CHECK(RefuseRecords(Name("a.example"), 255, Granting({kTypeHttps, 255})));
}

TEST_CASE("the reverse names of special addresses are asked of nobody") {
  AddressFilter ten;
  ten.prefixes = {*Prefix::Parse("10.1.0.0/16")};
  const NameVerdict usual = Granting({kPtr}), opened = Granting({kPtr}, ten);
  CHECK_FALSE(RefuseRecords(Name("4.3.2.11.in-addr.arpa"), kPtr, usual));
  CHECK_FALSE(RefuseRecords(Name("4.3.1.10.in-addr.arpa"), kPtr, opened));
  CHECK(RefuseRecords(Name("4.3.2.10.in-addr.arpa"), kPtr, opened));
  for (const char* name :
       {"4.3.1.10.in-addr.arpa", "1.0.0.127.in-addr.arpa", "254.169.254.169.in-addr.arpa",
        "1.0.18.198.in-addr.arpa", "10.in-addr.arpa", "in-addr.arpa", "ip6.arpa",
        "lb._dns-sd._udp.0.0.10.in-addr.arpa", "256.3.2.11.in-addr.arpa", "0x4.3.2.11.in-addr.arpa",
        "5.4.3.2.11.in-addr.arpa", "d.f.ip6.arpa",
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
        // ::ffff:10.1.3.4
        "4.0.3.0.1.0.a.0.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa"}) {
    INFO(name);
    const auto refusal = RefuseRecords(Name(name), kPtr, usual);
    REQUIRE(refusal);
    CHECK(refusal->reason == Reason::kAddressRefused);
    CHECK(RefuseRecords(Name(name), kTypeA, usual));
  }
  CHECK_FALSE(RefuseRecords(
      Name("1.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.1.0.0.0.0.6.2.ip6.arpa"), kPtr, usual));
}

}  // namespace
}  // namespace sallyport::policy::dns
