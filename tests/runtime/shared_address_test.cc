#include "runtime/warden/shared_address.h"

#include <catch2/catch.hpp>
#include <string>

#include "mitm/first_name.h"
#include "tests/fakes/fake_waits.h"
#include "tests/fakes/memory_stream.h"
#include "tests/runtime/policies.h"

namespace sallyport::runtime {
namespace {

using mitm::FirstName;

HostName Name(const char* text) {
  return *HostName::Parse(text);
}

std::optional<HostName> NameIn(const std::string& bytes) {
  FirstName first;
  return first.Feed(bytes) ? first.name() : std::nullopt;
}

TEST_CASE("a request's first Host field says whom a connection is for") {
  CHECK(NameIn("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n") == Name("a.example"));
  CHECK(NameIn("GET / HTTP/1.1\r\nX: y\r\nhOsT:\tA.Example.:8080 \r\n\r\n") == Name("a.example"));
  CHECK(NameIn("GET / HTTP/1.1\nHost: a.example\nHost: b.example\n\n") == Name("a.example"));
  CHECK_FALSE(NameIn("GET / HTTP/1.1\r\n\r\nHost: a.example\r\n\r\n"));
  CHECK_FALSE(NameIn("GET / HTTP/1.1\r\nHost: 11.0.0.1\r\n\r\n"));
  CHECK_FALSE(NameIn("GET / HTTP/1.1\r\nHost:\r\n\r\n"));
  CHECK_FALSE(NameIn("GET / HTTP/1.1\r\nHost: a.example\r\n"));
  FirstName endless;
  CHECK(endless.Feed(std::string(16 * 1024, 'x')));
  CHECK_FALSE(endless.name());
}

TEST_CASE("the name is the same for every way of cutting the bytes") {
  const std::string bytes = "GET / HTTP/1.1\r\nHost: a.example\r\nX: y\r\n\r\nbody";
  for (size_t first = 1; first < bytes.size(); ++first) {
    for (size_t second = first; second < bytes.size(); ++second) {
      FirstName name;
      const std::string_view all(bytes);
      const bool enough = name.Feed(all.substr(0, first)) ||
                          name.Feed(all.substr(first, second - first)) ||
                          name.Feed(all.substr(second));
      REQUIRE(enough);
      REQUIRE(name.name() == Name("a.example"));
    }
  }
}

/// Keeps what it is given.
class KeepingInterceptor : public mitm::Interceptor {
 public:
  const mitm::TrustAnchor& trust_anchor() const override { return anchor_; }
  void Serve(std::unique_ptr<Stream> guest, mitm::HttpFlow flow) override {
    guests.push_back(std::move(guest));
    served.push_back(std::move(flow));
  }
  size_t connections() const override { return served.size(); }
  Pending Fetch(const policy::FetchWait&, const policy::Facts&,
                std::function<void(policy::Fetched)>) override {
    return {};
  }
  std::vector<std::unique_ptr<Stream>> guests;
  std::vector<mitm::HttpFlow> served;

 private:
  mitm::TrustAnchor anchor_;
};

struct Fixture {
  std::unique_ptr<Stream> Serve(std::vector<HostName> names) {
    policy::Facts facts;
    facts.flow = 7;
    facts.destination = {IpAddress::V4(11, 0, 0, 1), 80};
    auto ends = MemoryStream::Make(*loop, {});
    shared.Serve(std::move(ends.a), facts, std::move(names));
    return std::move(ends.b);
  }
  void RunUntilServed() {
    for (int turn = 0; turn < 1000 && interceptor.served.empty(); ++turn) {
      const auto tick = loop->Post([] {});
      REQUIRE(*loop->RunOnce());
    }
    REQUIRE(interceptor.served.size() == 1);
  }

  std::unique_ptr<Loop> loop = *Loop::Create();
  std::unique_ptr<policy::Engine> engine = LoadPolicy(R"(
    allow.http { host = { "a.example", "b.example" } }
    allow.tcp { host = "raw.example", port = { 22, 80 } }
    ask.tcp { host = "asked.example", port = 80 })");
  KeepingInterceptor interceptor;
  policy::FakeWaits waits;
  std::vector<policy::Facts> granted;
  SharedAddress shared{{*loop, *engine, interceptor, waits},
                       [this](const policy::Facts& facts) { granted.push_back(facts); }};
};

const std::vector<HostName> kNames = {Name("a.example"), Name("b.example"), Name("raw.example")};

TEST_CASE("a connection is decided for the name that its client means, and loses no byte") {
  Fixture fixture;
  const auto client = fixture.Serve(kNames);
  const std::string request = "GET / HTTP/1.1\r\nHost: b.example\r\n\r\n";
  client->Write(request);
  fixture.RunUntilServed();
  const auto& flow = fixture.interceptor.served[0];
  CHECK(flow.facts.name == Name("b.example"));
  CHECK_FALSE(flow.refusal);
  CHECK(flow.verdict.action == policy::FlowVerdict::Action::kHttp);
  REQUIRE(fixture.granted.size() == 1);
  std::string got(4096, ' ');
  const auto read =
      fixture.interceptor.guests[0]->Read({reinterpret_cast<uint8_t*>(got.data()), got.size()});
  CHECK(got.substr(0, read.bytes) == request);
}

TEST_CASE("a connection that means another name, or none, is taken for the name told last") {
  for (const char* host : {"Host: evil.example\r\n", ""}) {
    Fixture fixture;
    const auto client = fixture.Serve(kNames);
    client->Write(std::string("GET / HTTP/1.1\r\n") + host + "\r\n");
    fixture.RunUntilServed();
    CHECK(fixture.interceptor.served[0].facts.name == Name("a.example"));
  }
  Fixture fixture;
  const auto client = fixture.Serve(kNames);
  client->CloseWrite();
  fixture.RunUntilServed();
  CHECK(fixture.interceptor.served[0].facts.name == Name("a.example"));
}

TEST_CASE("raw bytes to an address that several names have are refused, readably") {
  Fixture fixture;
  const auto client = fixture.Serve(kNames);
  client->Write("GET / HTTP/1.1\r\nHost: raw.example\r\n\r\n");
  fixture.RunUntilServed();
  REQUIRE(fixture.interceptor.served[0].refusal);
  CHECK(fixture.interceptor.served[0].refusal->reason == Reason::kUnknownAddress);
  CHECK(fixture.granted.empty());
}

TEST_CASE("a name that is denied is refused with the policy's own words") {
  Fixture fixture;
  const auto client = fixture.Serve({Name("other.example"), Name("a.example")});
  client->Write("GET / HTTP/1.1\r\nHost: other.example\r\n\r\n");
  fixture.RunUntilServed();
  REQUIRE(fixture.interceptor.served[0].refusal);
  CHECK(fixture.interceptor.served[0].refusal->reason == Reason::kNotGranted);
}

TEST_CASE("a client that breaks off is forgotten, and so is one that waits when the gate ends") {
  Fixture fixture;
  const auto broken = fixture.Serve(kNames);
  broken->Abort();
  const auto waiting = fixture.Serve(kNames);
  waiting->Write("GET / HT");
  for (int turn = 0; turn < 10; ++turn) {
    const auto tick = fixture.loop->Post([] {});
    REQUIRE(*fixture.loop->RunOnce());
  }
  CHECK(fixture.interceptor.served.empty());
}

}  // namespace
}  // namespace sallyport::runtime
