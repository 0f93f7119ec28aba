#include "secrets/answer_filter.h"

#include <catch2/catch.hpp>

namespace sallyport::secrets {
namespace {

using Lengths = AnswerFilter::Lengths;

Lengths Of(const char* type) {
  Headers headers;
  headers.Add("Content-Type", type);
  return LengthsFor(headers);
}

TEST_CASE("text may change its length, and what finds things by lengths may not") {
  for (const char* type : {
           "text/plain",
           "text/html; charset=utf-8",
           "TEXT/Event-Stream",
           "application/json",
           " application/problem+json ;x=y",
           "application/x-ndjson",
           "image/svg+xml",
           "application/xml",
           "multipart/form-data; boundary=x",
           "application/javascript",
       }) {
    CAPTURE(type);
    CHECK(Of(type) == Lengths::kMayChange);
  }
  for (const char* type : {
           "application/grpc",
           "application/grpc+proto",
           "application/grpc+json",
           "application/grpc-web",
           "application/grpc-web-text+proto",
           "application/connect+json",
           "Application/GRPC;x",
           "application/proto",
           "application/protobuf",
           "application/x-protobuf",
           "application/x-google-protobuf",
           "application/octet-stream",
           "application/x-git-upload-pack-result",
           "application/zip",
           "image/png",
           "multipart/byteranges; boundary=x",
           "application/vnd.amazon.eventstream",
           "",
           "nonsense",
       }) {
    CAPTURE(type);
    CHECK(Of(type) == Lengths::kKept);
  }
}

TEST_CASE("a body without a type may change its length, one with two may not") {
  Headers headers;
  CHECK(LengthsFor(headers) == Lengths::kMayChange);
  headers.Add("content-type", "text/plain");
  headers.Add("content-type", "text/plain");
  CHECK(LengthsFor(headers) == Lengths::kKept);
}

}  // namespace
}  // namespace sallyport::secrets
