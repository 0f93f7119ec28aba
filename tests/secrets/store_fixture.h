// What the tests of Store share: declarations, requests, and a passage through the store that sees
// to it that no value is told or left in what was refused.

#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "secrets/store.h"

namespace sallyport::secrets {

inline const std::string kGithubValue = "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB";
inline const std::string kOtherValue = "another:value/with+signs==";

inline HostName Name(std::string_view text) {
  Result<HostName> name = HostName::Parse(text);
  REQUIRE(name);
  return *std::move(name);
}

inline SecretSpec Spec(std::string name, const std::vector<std::string>& hosts) {
  SecretSpec spec;
  spec.name = std::move(name);
  spec.declared_at = "policy.lua:7";
  for (const std::string& host : hosts) {
    Result<HostPattern> pattern = HostPattern::Parse(host);
    REQUIRE(pattern);
    spec.hosts.push_back(*std::move(pattern));
  }
  return spec;
}

inline SecretSpec GithubSpec() {
  return Spec("GITHUB_TOKEN", {"api.github.com", "*.example.com"});
}

inline Secret Value(std::string_view value) {
  Result<Secret> secret = Secret::Create(value);
  REQUIRE(secret);
  return *std::move(secret);
}

// A store with one secret, of kGithubValue.
inline std::unique_ptr<Store> StoreOf(SecretSpec spec) {
  auto store = std::make_unique<Store>();
  REQUIRE(store->Add(std::move(spec), Value(kGithubValue)));
  return store;
}

inline RequestTarget To(std::string_view host, uint16_t port = 443) {
  return {Name(host), port, port != 80};
}

inline RequestHead Get(std::vector<HeaderField> fields = {}) {
  RequestHead head;
  head.method = "GET";
  head.scheme = "https";
  head.authority = "api.github.com";
  head.path = "/user";
  head.headers.fields() = std::move(fields);
  return head;
}

// Every byte that leaves, and every word that is told.
inline std::string Bytes(const RequestHead& head) {
  std::string bytes = head.method + head.authority + head.Target();
  for (const HeaderField& field : head.headers.fields()) bytes += field.name + field.value;
  return bytes;
}

inline std::string Words(const Examination& examination) {
  std::string words;
  for (const std::string& name : examination.used) words += name;
  for (const std::string& name : examination.inert) words += name;
  if (examination.refusal) {
    words +=
        examination.refusal->detail + examination.refusal->rule + examination.refusal->how_to_allow;
  }
  return words;
}

// Examines HEAD for TARGET and, where it may go, puts the values in. Whatever is refused must not
// change, nothing that is told may have a value in it, and what was prepared does the same as what is
// decided anew.
inline Examination Pass(const Store& store, const RequestTarget& target, RequestHead& head) {
  const std::string before = Bytes(head);
  PreparedRequest prepared;
  Examination examination = store.Examine(target, head, &prepared);
  REQUIRE(Bytes(head) == before);
  RequestHead anew = head;
  store.Substitute(target, anew);
  store.Substitute(target, head, prepared);
  REQUIRE(Bytes(head) == Bytes(anew));
  if (examination.refusal) REQUIRE(Bytes(head) == before);
  REQUIRE(Words(examination).find(kGithubValue) == std::string::npos);
  REQUIRE(Words(examination).find(kOtherValue) == std::string::npos);
  return examination;
}

inline Reason Refused(const Examination& examination) {
  return examination.refusal ? examination.refusal->reason : Reason::kAllowed;
}

using Names = std::vector<std::string>;

}  // namespace sallyport::secrets
