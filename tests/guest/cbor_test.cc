#include "guest/protocol/cbor.h"

#include <catch2/catch.hpp>
#include <limits>
#include <vector>

namespace sallyport::guest {
namespace {

using namespace std::string_literals;

std::string Hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const char byte : bytes) {
    hex.push_back(kDigits[static_cast<uint8_t>(byte) >> 4]);
    hex.push_back(kDigits[static_cast<uint8_t>(byte) & 15]);
  }
  return hex;
}

std::string IntHex(int64_t value) {
  CborWriter out;
  out.Int(value);
  return Hex(out.Take());
}

TEST_CASE("integers are written as RFC 8949's examples say") {
  CHECK(IntHex(0) == "00");
  CHECK(IntHex(23) == "17");
  CHECK(IntHex(24) == "1818");
  CHECK(IntHex(255) == "18ff");
  CHECK(IntHex(1000) == "1903e8");
  CHECK(IntHex(1000000) == "1a000f4240");
  CHECK(IntHex(1000000000000) == "1b000000e8d4a51000");
  CHECK(IntHex(-1) == "20");
  CHECK(IntHex(-1000) == "3903e7");
}

TEST_CASE("each integer reads back as written") {
  constexpr auto kMin = std::numeric_limits<int64_t>::min();
  constexpr auto kMax = std::numeric_limits<int64_t>::max();
  for (const int64_t value :
       {int64_t{0}, int64_t{24}, int64_t{65535}, int64_t{65536}, int64_t{4294967295},
        int64_t{4294967296}, int64_t{-1}, int64_t{-257}, kMin, kMax}) {
    CborWriter out;
    out.Int(value);
    const std::string bytes = out.Take();
    CborReader reader(bytes);
    auto read = reader.Int();
    REQUIRE(read);
    CHECK(*read == value);
    CHECK(reader.End());
  }
}

TEST_CASE("strings, booleans and containers read back as written") {
  CborWriter out;
  out.Map(2);
  out.Int(1);
  out.Array(2);
  out.Text("caf\xe9");  // Not UTF-8: file names needn't be.
  out.Bytes(std::string(300, '\0'));
  out.Int(2);
  out.Bool(true);
  const std::string bytes = out.Take();
  CborReader reader(bytes);
  CHECK(reader.Map().value() == 2);
  CHECK(reader.Int().value() == 1);
  CHECK(reader.Array().value() == 2);
  CHECK(reader.Text().value() == "caf\xe9");
  CHECK(reader.Bytes().value().size() == 300);
  CHECK(reader.Int().value() == 2);
  CHECK(reader.Bool().value());
  CHECK(reader.End());
}

TEST_CASE("lengths beyond the input are refused") {
  for (const std::string& bytes :
       {"\x41"s, "\x58\xff"s, "\x5b\x7f\xff\xff\xff\xff\xff\xff\xff"s,  // Byte strings.
        "\x5b\xff\xff\xff\xff\xff\xff\xff\xff"s, "\x5a\0\0"s, ""s}) {
    CHECK_FALSE(CborReader(bytes).Bytes());
    CHECK_FALSE(CborReader(bytes).Skip());
  }
  CHECK_FALSE(CborReader("\x82\0"s).Array());                          // Two elements in one byte.
  CHECK_FALSE(CborReader("\xa1\0"s).Map());                            // One pair in one byte.
  CHECK_FALSE(CborReader("\xbb\x80\0\0\0\0\0\0\0"s + "\0\0"s).Map());  // 2^63 pairs.
  CHECK_FALSE(CborReader("\x9b\xff\xff\xff\xff\xff\xff\xff\xff\0"s).Skip());
}

TEST_CASE("what the subset lacks is refused") {
  for (const std::string& bytes :
       {"\x5f\x41\x61\xff"s,                              // Indefinite byte string.
        "\x9f\xff"s, "\xbf\xff"s,                         // Indefinite containers.
        "\xc0\x60"s,                                      // Tag.
        "\xf6"s, "\xf7"s, "\xf9\0\0"s, "\xff"s,           // null, undefined, a float, break.
        "\x18\x17"s, "\x19\0\xff"s, "\x1a\0\0\xff\xff"s,  // Longer than need be.
        "\x1b\0\0\0\0\xff\xff\xff\xff"s,
        "\x1b\x80\0\0\0\0\0\0\0"s,  // 2^63.
        "\x3b\x80\0\0\0\0\0\0\0"s,  // -2^63 - 1.
        "\x1c"s, "\x1f"s}) {
    INFO(Hex(bytes));
    CHECK_FALSE(CborReader(bytes).Skip());
  }
}

TEST_CASE("a read of another type is refused") {
  const std::string integer = "\x01"s;
  CHECK_FALSE(CborReader(integer).Bool());
  CHECK_FALSE(CborReader(integer).Text());
  CHECK_FALSE(CborReader(integer).Map());
  CHECK_FALSE(CborReader("\x61\x61"s).Int());
  CHECK_FALSE(CborReader("\x61\x61"s).Bytes());
}

TEST_CASE("skipping stops at the depth limit") {
  const std::string four = "\x81\x81\x81\x81\x01"s;
  CborReader allowed(four);
  CHECK(allowed.Skip());
  CHECK(allowed.End());
  CHECK_FALSE(CborReader("\x81\x81\x81\x81\x81\x01"s).Skip());
  CHECK_FALSE(CborReader(std::string(100000, '\x81')).Skip());
}

TEST_CASE("bytes behind the last item are an error") {
  const std::string two = "\x01\x02"s;
  CborReader reader(two);
  CHECK_FALSE(CborReader("\0"s).End());
  CHECK(reader.Int());
  CHECK_FALSE(reader.End());
}

}  // namespace
}  // namespace sallyport::guest
