#include "mitm/content/coding.h"

#include <catch2/catch.hpp>
#include <initializer_list>

namespace sallyport::mitm::content {
namespace {

Headers Fields(std::string_view name, std::initializer_list<std::string_view> values) {
  Headers headers;
  for (const std::string_view value : values) headers.Add(name, value);
  return headers;
}

ContentEncoding Read(std::initializer_list<std::string_view> values) {
  return ReadContentEncoding(Fields("Content-Encoding", values));
}

std::string Narrowed(std::initializer_list<std::string_view> values) {
  return AcceptEncoding(Fields("Accept-Encoding", values)).Narrowed();
}

TEST_CASE("Content-Encoding names codings in the order in which they were applied") {
  using enum Coding;
  CHECK(Read({"gzip"}).codings == std::vector{kGzip});
  CHECK(Read({"X-GZip"}).codings == std::vector{kGzip});
  CHECK(Read({"deflate, br", " zstd "}).codings == std::vector{kDeflate, kBrotli, kZstd});
  CHECK(Read({"identity"}).identity());
  CHECK(Read({"gzip, identity"}).codings == std::vector{kGzip});
  CHECK(Read({" , ,"}).identity());
  CHECK(Read({"utf-8"}).identity());
  CHECK(Read({}).identity());
}

TEST_CASE("a coding without a decoder is named, if it has a name") {
  CHECK(Read({"gzip, compress"}).undecodable == "compress");
  CHECK(Read({"<b>"}).undecodable == "?");
  CHECK(Read({std::string(33, 'a')}).undecodable == "?");
  CHECK(Read({"gzip, gzip, gzip"}).undecodable.empty());
  CHECK(Read({"gzip, gzip, gzip, gzip"}).undecodable == "too many");
}

TEST_CASE("Accept-Encoding keeps what can be decoded, with order and weights") {
  CHECK(Narrowed({"gzip, deflate, br, zstd"}) == "gzip, deflate, br, zstd");
  CHECK(Narrowed({"br;q=1.0,gzip;q=0.8, *;q=0.1"}) == "br;q=1.0, gzip;q=0.8");
  CHECK(Narrowed({"compress, dcb, dcz, x-gzip"}) == "x-gzip");
  CHECK(Narrowed({"zstd;q=0, identity;q=0.5"}) == "zstd;q=0, identity;q=0.5");
  CHECK(Narrowed({"br", "gzip"}) == "br, gzip");
  CHECK(Narrowed({"identity"}) == "identity");
}

TEST_CASE("Accept-Encoding of anything becomes gzip, and of nothing identity") {
  CHECK(Narrowed({"*"}) == "gzip");
  CHECK(Narrowed({"br, *;q=0.5"}) == "br, gzip;q=0.5");
  CHECK(Narrowed({"br, *;q=0"}) == "br");
  CHECK(Narrowed({"*;q=0"}) == "identity");
  CHECK(Narrowed({""}) == "identity");
  CHECK(Narrowed({"compress"}) == "identity");
  CHECK(Narrowed({}) == "identity");
}

TEST_CASE("a client asks for the codings that it names with a weight, or for any") {
  const AcceptEncoding some(Fields("accept-encoding", {"gzip;q=0.5, br;q=0, zstd ; q = 0.000"}));
  CHECK(some.AsksFor(Coding::kGzip));
  CHECK_FALSE(some.AsksFor(Coding::kBrotli));
  CHECK_FALSE(some.AsksFor(Coding::kZstd));
  CHECK_FALSE(some.AsksFor(Coding::kDeflate));
  const AcceptEncoding any(Fields("accept-encoding", {"*, br;q=0."}));
  CHECK(any.AsksFor(Coding::kGzip));
  CHECK_FALSE(any.AsksFor(Coding::kBrotli));
  CHECK_FALSE(AcceptEncoding(Headers()).AsksFor(Coding::kGzip));
  CHECK_FALSE(AcceptEncoding(Fields("accept-encoding", {"identity"})).AsksFor(Coding::kGzip));
}

}  // namespace
}  // namespace sallyport::mitm::content
