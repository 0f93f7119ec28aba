#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "secrets/store.h"

namespace sallyport::secrets {

using Names = std::vector<std::string>;

/// A declaration for HOST.
inline SecretSpec SpecFor(std::string name, std::string_view host) {
  SecretSpec spec;
  spec.name = std::move(name);
  spec.declared_at = "policy.lua:7";
  Result<HostPattern> pattern = HostPattern::Parse(host);
  REQUIRE(pattern);
  spec.hosts.push_back(*std::move(pattern));
  return spec;
}

inline SecretSpec BodySpec(std::string name, SecretSpec::Body body,
                           std::string_view host = "api.test") {
  SecretSpec spec = SpecFor(std::move(name), host);
  spec.body = body;
  return spec;
}

inline void AddTo(Store& store, SecretSpec spec, std::string_view value) {
  Result<Secret> secret = Secret::Create(value);
  REQUIRE(secret);
  REQUIRE(store.Add(std::move(spec), *std::move(secret)));
}

inline RequestTarget TargetOf(std::string_view host = "api.test") {
  Result<HostName> name = HostName::Parse(host);
  REQUIRE(name);
  return {*std::move(name), 443, true};
}

inline RequestHead PostOf(std::string_view content_type) {
  RequestHead head;
  head.method = "POST";
  head.scheme = "https";
  head.authority = "api.test";
  head.path = "/messages";
  if (!content_type.empty()) head.headers.Add("content-type", content_type);
  return head;
}

/// What PIECES become, and what was said of them. An error is in `error`.
struct Passed {
  std::string out;
  Examination found;
  std::string error;
};

inline Passed PassBody(BodyFilter& filter, const std::vector<std::string_view>& pieces) {
  Passed passed;
  Status status;
  for (const std::string_view piece : pieces) {
    status = filter.Feed(piece, passed.out);
    if (!status) break;
  }
  if (status) status = filter.Finish(passed.out);
  if (!status) passed.error = status.error().message();
  passed.found = filter.found();
  return passed;
}

inline Passed PassBody(const Store& store, const RequestHead& head,
                       const std::vector<std::string_view>& pieces,
                       const RequestTarget& target = TargetOf()) {
  const auto filter = store.BodySubstituter(target, head);
  REQUIRE(filter);
  return PassBody(*filter, pieces);
}

/// Whether BODY becomes EXPECTED however it is cut in two places, and byte by byte.
inline void CheckEveryCut(const Store& store, const RequestHead& head, std::string_view body,
                          const std::string& expected) {
  const RequestTarget target = TargetOf();
  const auto pass = [&](const std::vector<std::string_view>& pieces) {
    const auto filter = store.BodySubstituter(target, head);
    std::string out;
    for (const std::string_view piece : pieces) {
      if (!filter->Feed(piece, out)) return std::string("an error");
    }
    return filter->Finish(out) ? out : std::string("an error");
  };
  REQUIRE(pass({body}) == expected);
  for (size_t first = 0; first <= body.size(); ++first) {
    for (size_t second = first; second <= body.size(); ++second) {
      const std::string out =
          pass({body.substr(0, first), body.substr(first, second - first), body.substr(second)});
      if (out == expected) continue;  // REQUIRE for each would take most of the time.
      CAPTURE(first, second);
      REQUIRE(out == expected);
    }
  }
  std::vector<std::string_view> bytes;
  for (size_t at = 0; at < body.size(); ++at) bytes.push_back(body.substr(at, 1));
  CHECK(pass(bytes) == expected);
}

}  // namespace sallyport::secrets
