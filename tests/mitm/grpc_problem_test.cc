#include "mitm/grpc_problem.h"

#include <catch2/catch.hpp>
#include <string>

#include "mitm/limits.h"

namespace sallyport::mitm {
namespace {

Headers Call(const std::string& type) {
  Headers headers;
  headers.Add("content-type", type);
  return headers;
}

Refusal Refused(int status, const std::string& detail = {}) {
  return {.reason = Reason::kNotGranted,
          .status = status,
          .detail = detail,
          .rule = {},
          .how_to_allow = {}};
}

std::string StatusOf(const LocalAnswer& answer) {
  return *answer.head.headers.Find("grpc-status");
}

TEST_CASE("a gRPC call is told by its content type") {
  CHECK(IsGrpc(Call("application/grpc")));
  CHECK(IsGrpc(Call("application/grpc+proto")));
  CHECK(IsGrpc(Call("Application/gRPC; charset=x")));
  CHECK(IsGrpc(Call("application/grpc-web+proto")));
  CHECK_FALSE(IsGrpc(Call("application/json")));
  CHECK_FALSE(IsGrpc(Call("application/grp")));
  CHECK_FALSE(IsGrpc(Call("")));
  CHECK_FALSE(IsGrpc({}));
}

TEST_CASE("what was not reached is unavailable, all else is denied") {
  const secrets::Store secrets;
  for (const int status : {400, 401, 403, 408, 421, 431, 500, 501}) {
    CHECK(StatusOf(MakeGrpcProblem(Call("application/grpc"), Refused(status), 1, secrets)) == "7");
  }
  for (const int status : {502, 503, 504}) {
    CHECK(StatusOf(MakeGrpcProblem(Call("application/grpc"), Refused(status), 1, secrets)) == "14");
  }
}

TEST_CASE("a message holds nothing but visible ASCII, whatever it quotes") {
  const secrets::Store secrets;
  const LocalAnswer answer = MakeGrpcProblem(
      Call("application/grpc"), Refused(403, std::string("a%\r\n\0\xff", 6)), 1, secrets);
  CHECK(answer.head.headers.Find("grpc-message")->starts_with("a%25%0D%0A%00%FF (urn:sallyport:"));
  CHECK(answer.head.status == 200);
  CHECK(answer.body.empty());
}

TEST_CASE("a message is bounded, and a content type is repeated only if it is short") {
  const secrets::Store secrets;
  const LocalAnswer answer = MakeGrpcProblem(Call("application/grpc;" + std::string(1000, 'x')),
                                             Refused(403, std::string(100'000, '%')), 1, secrets);
  CHECK(answer.head.headers.Find("grpc-message")->size() == 3 * kMaxGrpcMessage);
  CHECK(*answer.head.headers.Find("content-type") == "application/grpc");
}

}  // namespace
}  // namespace sallyport::mitm
