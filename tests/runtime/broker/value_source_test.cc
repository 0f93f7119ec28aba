#include "runtime/broker/value_source.h"

#include <openssl/sha.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <mutex>

#include "mitm/server_settings.h"
#include "mitm/upstream_trust.h"
#include "runtime/broker/server_list.h"
#include "runtime/dial/guarded_dialer.h"
#include "tests/fakes/fake_resolver.h"
#include "tests/fakes/loopback_dialer.h"
#include "tests/mitm/origin.h"
#include "tests/runtime/broker/files.h"
#include "tests/runtime/broker/rsa_key.h"

// Sources against a server over TLS that plays a token endpoint, or GitHub.

namespace sallyport::runtime {
namespace {

using Catch::Matchers::Contains;
using mitm::Origin;
using mitm::TestCertificate;

const TestCertificate& Roots() {
  static const TestCertificate roots =
      mitm::MakeTestCertificate({.name = "Test roots", .authority = true});
  return roots;
}
const TestCertificate& Certificate() {
  static const TestCertificate certificate =
      mitm::MakeTestCertificate({.name = "id.test", .dns = "id.test", .issuer = &Roots()});
  return certificate;
}

/// Answers request N with the Nth of its answers, the last one again and again, and keeps what it
/// was asked.
class TokenServer {
 public:
  explicit TokenServer(std::vector<std::string> answers,
                       const TestCertificate* certificate = &Certificate(), Origin::Tls tls = {})
      : answers_(std::move(answers)),
        origin_(
            certificate, [this](Origin::Connection& c) { Serve(c); }, std::move(tls)) {}

  uint16_t port() const { return origin_.port(); }
  /// Heads with bodies.
  std::vector<std::string> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void Serve(Origin::Connection& connection) {
    const std::string head = connection.ReadHead();
    if (head.empty()) return;
    std::string request = head + connection.ReadBody(head);
    std::string answer;
    {
      const std::lock_guard lock(mutex_);
      answer = answers_[std::min(requests_.size(), answers_.size() - 1)];
      requests_.push_back(std::move(request));
    }
    connection.Write(answer);
  }

  std::mutex mutex_;
  const std::vector<std::string> answers_;
  std::vector<std::string> requests_;
  Origin origin_;
};

std::string Json(const std::string& status, const std::string& body, const std::string& more = "") {
  return "HTTP/1.1 " + status + "\r\nContent-Type: application/json\r\n" + more +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}
std::string Ok(const std::string& body) {
  return Json("200 OK", body);
}

/// All that a source works with. The errands' child is forked before the server has threads.
struct Bench {
  explicit Bench(const SecretSource& source, const Variables& variables = {})
      : loop(*Loop::Create()) {
    auto declared = ErrandsOf({source});
    if (!declared.commands.empty() || !declared.files.empty()) {
      errands = std::move(*Errands::Start(std::move(declared), {}));
      REQUIRE(errands->Attach(*loop));
    }
    local = Sources::Open({source}, variables);
  }
  ~Bench() {
    pending = {};
    value.reset();
    errands.reset();
    while (waitpid(-1, nullptr, 0) > 0) {
    }
  }

  void Connect(Dialer& dialer, const SecretSource& source, const ServerList& servers = {}) {
    auto trusted = mitm::LoadTrustedRoots({{"test", Roots().Pem()}});
    REQUIRE(trusted);
    auto table = mitm::ServerTable::Create(servers.list, trusted->get());
    REQUIRE(table);
    tls = std::move(*mitm::UpstreamTls::Create(
        *std::move(trusted), [] { return std::string(); }, *std::move(table)));
    http = std::make_unique<HttpClient>(*loop, dialer, *tls);
    value = MakeValueSource(
        "TOKEN", source,
        {.loop = *loop, .local = local, .errands = errands.get(), .http = http.get()});
  }

  /// "VALUE for N ms", "VALUE", or "(why not)".
  std::string Fetch() {
    std::string result;
    pending = {};
    pending = value->Fetch([&](Result<Value> fetched) {
      if (!fetched) {
        result = "(" + fetched.error().message() + ")";
        return;
      }
      result = fetched->bytes.text;
      if (fetched->lifetime) result += " for " + std::to_string(fetched->lifetime->count()) + " ms";
    });
    bool late = false;
    const auto deadline = loop->After(std::chrono::seconds(60), [&late] { late = true; });
    while (result.empty() && !late) REQUIRE(loop->RunOnce());
    return result;
  }

  std::unique_ptr<Loop> loop;
  std::unique_ptr<Errands> errands;
  Sources local;
  std::unique_ptr<mitm::UpstreamTls> tls;
  std::unique_ptr<HttpClient> http;
  std::unique_ptr<ValueSource> value;
  Pending pending;  // Of the latest fetch, kept until the next as the broker keeps it.
};

OAuth2Source OAuth(const std::string& url = "https://id.test/oauth/token") {
  OAuth2Source source;
  source.token_url = *HttpUrl::Parse(url);
  source.client_id = "me";
  source.client_secret = EnvSource{"SECRET"};
  return source;
}

Variables Secret() {
  return *Variables::Read(Pipe(std::string_view("SECRET\0hunter2\0", 15)));
}

/// The SHA-256 of the certificate's public key, as a pin.
std::string KeyDigest(const TestCertificate& certificate) {
  uint8_t* der = nullptr;
  const int size = i2d_PUBKEY(certificate.key.get(), &der);
  const bssl::UniquePtr<uint8_t> own(der);
  std::string digest(32, '\0');
  SHA256(der, static_cast<size_t>(size), reinterpret_cast<uint8_t*>(digest.data()));
  return digest;
}

/// One fetch of SOURCE from a server with ANSWERS.
std::string FetchOnce(const OAuth2Source& source, const std::string& answer) {
  Bench bench(source, Secret());
  TokenServer server({answer});
  LoopbackDialer dialer(*bench.loop, server.port());
  bench.Connect(dialer, source);
  return bench.Fetch();
}

TEST_CASE("a token is fetched from the endpoint, anew each time") {
  const auto source = OAuth();
  Bench bench(source, Secret());
  TokenServer server({Ok(R"({"access_token":"one","token_type":"Bearer","expires_in":60})"),
                      Ok(R"({"access_token":"two","token_type":"Bearer"})")});
  LoopbackDialer dialer(*bench.loop, server.port());
  bench.Connect(dialer, source);
  CHECK(bench.Fetch() == "one for 60000 ms");
  CHECK(bench.Fetch() == "two");
  const auto requests = server.requests();
  REQUIRE(requests.size() == 2);
  CHECK_THAT(requests[0], Catch::StartsWith("POST /oauth/token HTTP/1.1\r\n"));
  CHECK_THAT(requests[0], Contains("Host: id.test\r\n"));
  CHECK_THAT(requests[0], Contains("grant_type=client_credentials"));
  CHECK_THAT(requests[0], Contains("Basic bWU6aHVudGVyMg=="));
  REQUIRE(dialer.dialed.size() == 2);
  CHECK(ToString(dialer.dialed[0].host) == "id.test");
  CHECK(dialer.dialed[0].port == 443);
  CHECK_FALSE(dialer.dialed[0].chosen_by_user);
}

TEST_CASE("what the endpoint refuses is told with its address and without the secret") {
  const std::string told = FetchOnce(
      OAuth(),
      Json("401 Unauthorized", R"({"error":"invalid_client","error_description":"not hunter2"})"));
  CHECK(told == "(https://id.test/oauth/token: it answered 401: invalid_client: not …)");
}

TEST_CASE("a redirect is not followed") {
  CHECK_THAT(FetchOnce(OAuth(),
                       "HTTP/1.1 307 Temporary Redirect\r\nLocation: "
                       "https://evil.test/\r\nContent-Length: 0\r\n\r\n"),
             Contains("it answered 307"));
}

TEST_CASE("an answer without end, bounds or sense is refused") {
  CHECK_THAT(FetchOnce(OAuth(), Ok(std::string(70'000, ' '))), Contains("larger than 64 KiB"));
  CHECK_THAT(FetchOnce(OAuth(), "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
             Contains("closed the connection"));
  CHECK_THAT(FetchOnce(OAuth(), "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
             Contains("not valid HTTP"));
  CHECK_THAT(FetchOnce(OAuth(), ""), Contains("closed the connection"));
}

TEST_CASE("an answer in chunks, behind an interim one, is read") {
  CHECK(FetchOnce(
            OAuth(),
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            "10\r\n{\"access_token\":\r\n6\r\n\"one\"}\r\n0\r\n\r\n") == "one");
}

TEST_CASE("a certificate for another name is refused before anything was sent") {
  const auto source = OAuth("https://other.test/token");
  Bench bench(source, Secret());
  TokenServer server({Ok("{}")});
  LoopbackDialer dialer(*bench.loop, server.port());
  bench.Connect(dialer, source);
  CHECK_THAT(bench.Fetch(), Contains("https://other.test/token: TLS failed"));
  CHECK(server.requests().empty());
}

/// One fetch of OAuth() from SERVER, with what is declared of it.
std::string FetchFrom(TokenServer& server, const BrokerLaunch::Server& declared,
                      std::vector<secrets::Secret> keys = {}) {
  const auto servers = ServerList::Make({declared}, std::move(keys));
  REQUIRE(servers);
  const auto source = OAuth();
  Bench bench(source, Secret());
  LoopbackDialer dialer(*bench.loop, server.port());
  bench.Connect(dialer, source, *servers);
  return bench.Fetch();
}

BrokerLaunch::Server Declared(const std::string& host = "id.test") {
  BrokerLaunch::Server server;
  server.host = host;
  return server;
}

TEST_CASE("a private authority is trusted for the endpoint that it is declared for, and no other") {
  const auto corp = mitm::MakeTestCertificate({.name = "Corp", .authority = true});
  const auto leaf =
      mitm::MakeTestCertificate({.name = "id.test", .dns = "id.test", .issuer = &corp});
  TokenServer server({Ok(R"({"access_token":"one"})")}, &leaf);
  CHECK_THAT(FetchFrom(server, Declared()), Contains("TLS failed"));
  auto declared = Declared("other.test");
  declared.roots = {{"corp.pem", corp.Pem()}};
  CHECK_THAT(FetchFrom(server, declared), Contains("TLS failed"));
  CHECK(server.requests().empty());
  declared.host = "id.test";
  CHECK(FetchFrom(server, declared) == "one");
}

TEST_CASE("an endpoint without a pinned key is refused before anything was sent") {
  TokenServer server({Ok(R"({"access_token":"one"})")});
  auto declared = Declared();
  declared.pins = {std::string(32, '\x01')};
  CHECK_THAT(FetchFrom(server, declared), Contains("TLS failed") && Contains("pins"));
  CHECK(server.requests().empty());
  declared.pins.push_back(KeyDigest(Certificate()));
  CHECK(FetchFrom(server, declared) == "one");
}

TEST_CASE("an endpoint that asks for a client certificate is shown the declared one") {
  const auto corp = mitm::MakeTestCertificate({.name = "Corp", .authority = true});
  const auto client = mitm::MakeTestCertificate({.name = "gate", .issuer = &corp});
  Origin::Tls tls;
  tls.clients = &corp;
  TokenServer server({Ok(R"({"access_token":"one"})")}, &Certificate(), tls);
  CHECK(FetchFrom(server, Declared()).starts_with("(https://id.test/oauth/token: "));
  CHECK(server.requests().empty());
  auto declared = Declared();
  declared.client = {{"client.pem", client.Pem()}, "key.pem"};
  std::vector<secrets::Secret> keys;
  keys.push_back(*secrets::Secret::Create(client.KeyPem(), secrets::Secret::Form::kFile));
  CHECK(FetchFrom(server, declared, std::move(keys)) == "one");
}

TEST_CASE("a client certificate without its key is an error, not a connection without it") {
  auto declared = Declared();
  declared.client = {{"client.pem", ""}, "key.pem"};
  CHECK_FALSE(ServerList::Make({declared}, {}));
}

TEST_CASE("a missing part of a source is told") {
  const auto source = OAuth();
  Bench bench(source);
  LoopbackDialer dialer(*bench.loop, 1);
  bench.Connect(dialer, source);
  CHECK(bench.Fetch() == "(client_secret: variable SECRET is not set)");
  CHECK(dialer.dialed.empty());
}

TEST_CASE("a rotated refresh token is written back, and used next") {
  const Folder folder;
  const std::string file = folder.Write("refresh", "first\n");
  REQUIRE(chmod(file.c_str(), 0600) == 0);
  OAuth2Source source = OAuth();
  source.grant = OAuth2Source::Grant::kRefreshToken;
  source.client_secret.reset();
  source.refresh_token = FileSource{file};
  Bench bench(source);
  TokenServer server(
      {Ok(R"({"access_token":"one","refresh_token":"second"})"), Ok(R"({"access_token":"two"})")});
  LoopbackDialer dialer(*bench.loop, server.port());
  bench.Connect(dialer, source);
  CHECK(bench.Fetch() == "one");
  CHECK(folder.Read("refresh") == "second\n");
  struct stat info = {};
  REQUIRE(stat(file.c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0600);
  CHECK(bench.Fetch() == "two");
  CHECK(folder.Read("refresh") == "second\n");
  const auto requests = server.requests();
  CHECK_THAT(requests[0], Contains("refresh_token=first&"));
  CHECK_THAT(requests[1], Contains("refresh_token=second&"));
}

TEST_CASE("a refresh token that another sandbox has rotated is read anew") {
  const Folder folder;
  OAuth2Source source = OAuth();
  source.grant = OAuth2Source::Grant::kRefreshToken;
  source.client_secret.reset();
  source.refresh_token = FileSource{folder.Write("refresh", "first")};
  Bench bench(source);
  TokenServer server({Ok(R"({"access_token":"one"})")});
  LoopbackDialer dialer(*bench.loop, server.port());
  bench.Connect(dialer, source);
  CHECK(bench.Fetch() == "one");
  folder.Write("new", "others");
  std::filesystem::rename(folder / "new", folder / "refresh");
  CHECK(bench.Fetch() == "one");
  CHECK_THAT(server.requests()[1], Contains("refresh_token=others&"));
}

TEST_CASE(
    "a rotated refresh token that came from a variable, or can't be written, is used from memory") {
  OAuth2Source source = OAuth();
  source.grant = OAuth2Source::Grant::kRefreshToken;
  source.client_secret.reset();
  source.refresh_token = EnvSource{"SECRET"};
  Bench bench(source, Secret());
  TokenServer server({Ok(R"({"access_token":"one","refresh_token":"second"})")});
  LoopbackDialer dialer(*bench.loop, server.port());
  bench.Connect(dialer, source);
  CHECK(bench.Fetch() == "one");
  CHECK(bench.Fetch() == "one");
  CHECK_THAT(server.requests()[0], Contains("refresh_token=hunter2&"));
  CHECK_THAT(server.requests()[1], Contains("refresh_token=second&"));
}

TEST_CASE("an endpoint on a special address is refused unless it may be private") {
  const auto fetch = [](const std::string& url, bool private_network,
                        const std::vector<IpAddress>& addresses) {
    OAuth2Source source = OAuth(url);
    source.private_network = private_network;
    Bench bench(source, Secret());
    FakeResolver resolver(*bench.loop);
    resolver.Set("id.test", addresses);
    GuardedDialer dialer(*bench.loop, resolver);
    bench.Connect(dialer, source);
    return bench.Fetch();
  };
  const auto address = [](const char* text) { return *IpAddress::Parse(text); };
  for (const char* text : {"127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fd00::1"}) {
    CAPTURE(text);
    CHECK_THAT(fetch("https://id.test/t", false, {address(text)}),
               Contains("addresses that are refused"));
  }
  // A name is never loopback or metadata, whatever it may be besides.
  CHECK_THAT(fetch("https://id.test/t", true, {address("127.0.0.1")}),
             Contains("addresses that are refused"));
  CHECK_THAT(fetch("https://id.test/t", true, {address("169.254.169.254")}),
             Contains("addresses that are refused"));
  CHECK_THAT(fetch("https://169.254.169.254/t", true, {}), Contains("addresses that are refused"));
  CHECK_THAT(fetch("https://10.1.2.3/t", false, {}), Contains("addresses that are refused"));
}

TEST_CASE("an endpoint on this host is reached without TLS where that is meant") {
  TokenServer server({Ok(R"({"access_token":"one"})")}, nullptr);
  for (const std::string host : {"127.0.0.1", "localhost"}) {
    OAuth2Source source = OAuth("http://" + host + ":" + std::to_string(server.port()) + "/t?x=1");
    source.private_network = true;
    Bench bench(source, Secret());
    FakeResolver resolver(*bench.loop);
    GuardedDialer dialer(*bench.loop, resolver);
    bench.Connect(dialer, source);
    CHECK(bench.Fetch() == "one");
    CHECK(resolver.asked.empty());
    CHECK_THAT(server.requests().back(), Contains("POST /t?x=1 HTTP/1.1"));
  }
}

TEST_CASE("an app's installation token is fetched with a token that its key signed") {
  const Folder folder;
  const auto key = MakeRsaKey(2048);
  GitHubAppSource source;
  source.base_url = *HttpUrl::Parse("https://id.test/");
  source.app_id = "12";
  source.installation_id = "34";
  source.private_key = FileSource{folder.Write("app.pem", Pkcs1Pem(key.get()))};
  Bench bench(source);
  TokenServer server(
      {Json("201 Created", R"({"token":"ghs_abc","expires_at":"2030-01-01T01:00:00Z"})",
            "Date: Tue, 01 Jan 2030 00:00:00 GMT\r\n"),
       Json("401 Unauthorized", R"({"message":"A JSON web token could not be decoded"})")});
  LoopbackDialer dialer(*bench.loop, server.port());
  bench.Connect(dialer, source);
  CHECK(bench.Fetch() == "ghs_abc for 3600000 ms");
  const std::string request = server.requests().at(0);
  CHECK_THAT(request, Catch::StartsWith("POST /app/installations/34/access_tokens HTTP/1.1\r\n"));
  const size_t at = request.find("Bearer ") + 7;
  const auto claims = VerifiedClaims(request.substr(at, request.find("\r\n", at) - at), key.get());
  CHECK(claims["iss"] == "12");
  CHECK(claims["exp"].get<int64_t>() - claims["iat"].get<int64_t>() == 600);
  CHECK(bench.Fetch() ==
        "(https://id.test/ (installation 34): it answered 401: A JSON web token could not be "
        "decoded)");
}

TEST_CASE("a fetch that is dropped at any step calls nobody") {
  OAuth2Source source = OAuth();
  for (int turns = 0; turns < 12; ++turns) {
    Bench bench(source, Secret());
    TokenServer server({Ok(R"({"access_token":"one"})")});
    LoopbackDialer dialer(*bench.loop, server.port());
    bench.Connect(dialer, source);
    bool called = false;
    bool done = false;
    {
      const Pending pending = bench.value->Fetch([&](Result<Value>) { called = true; });
      for (int i = 0; i < turns && !called; ++i) REQUIRE(bench.loop->RunOnce());
      done = called;
      called = false;
    }
    if (done) break;
    CHECK(bench.Fetch() == "one");  // And the next one works.
    CHECK_FALSE(called);
  }
}

}  // namespace
}  // namespace sallyport::runtime
