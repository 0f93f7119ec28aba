#include "runtime/broker/messages.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <functional>

#include "runtime/broker/requests.h"

namespace sallyport::runtime {
namespace {

BrokerLaunch Full() {
  OAuth2Source oauth;
  oauth.token_url = *HttpUrl::Parse("https://id.example.com/token?x=y");
  oauth.grant = OAuth2Source::Grant::kRefreshToken;
  oauth.auth = OAuth2Source::Auth::kPost;
  oauth.client_id = "me";
  oauth.client_secret = EnvSource{"S"};
  oauth.refresh_token = FileSource{"/home/me/refresh"};
  oauth.scopes = {"a", "b"};
  oauth.audience = "api";
  oauth.private_network = true;
  GitHubAppSource app;
  app.base_url = *HttpUrl::Parse("https://ghe.example.com/api/v3");
  app.app_id = "1";
  app.installation_id = "2";
  app.private_key = CommandSource{{"pass", "show app"}, "/home/me", std::chrono::milliseconds(0)};
  app.repositories = {"one"};
  app.permissions = {{"contents", "read"}};
  BrokerLaunch launch;
  launch.secrets = {{"A", EnvSource{"X"}},
                    {"B", FileSource{"/f"}},
                    {"C", CommandSource{{"gh", "auth", ""}, "/home/me", std::chrono::hours(1)}},
                    {"D", oauth},
                    {"E", app}};
  launch.resolvers = {"192.0.2.1:53"};
  launch.extra_roots = {{"ca.pem", "-----BEGIN"}};
  BrokerLaunch::Server server;
  server.host = "*.corp.example";
  server.declared_at = "policy.lua:2";
  server.roots = {{"corp.pem", "-----BEGIN A"}};
  server.pins = {std::string(32, '\x01')};
  server.client = {{"client.pem", "-----BEGIN B"}, "/key.pem"};
  launch.servers = {server, {}};
  launch.servers[1].host = "id.example.com";
  launch.proxy.emplace();
  launch.proxy->from = ProxySpec::From::kSource;
  launch.proxy->source = FileSource{"/proxy"};
  launch.proxy->no_proxy = {"*.corp.example"};
  launch.proxy->declared_at = "policy.lua:1";
  launch.approvals.emplace();
  launch.approvals->webhook =
      ApprovalWebhook{.url = *HttpUrl::Parse("https://hook.example.com/a?b=c"),
                      .key = EnvSource{"KEY"},
                      .private_network = true};
  launch.approvals->command =
      CommandSource{{"approve", ""}, "/home/me", std::chrono::milliseconds(0)};
  launch.approvals->timeout = std::chrono::seconds(90);
  launch.telemetry = TelemetrySpec{.url = *HttpUrl::Parse("http://127.0.0.1:4318"),
                                   .headers = FileSource{"/headers"},
                                   .sandbox = "sp-1"};
  return launch;
}

TEST_CASE("what a broker is born to know comes back as it was") {
  const auto decoded = BrokerLaunch::Decode(Full().Encode());
  REQUIRE(decoded);
  CHECK(decoded->approvals == Full().approvals);
  CHECK(decoded->telemetry == Full().telemetry);
  REQUIRE(decoded->secrets.size() == 5);
  CHECK(decoded->secrets[0].name == "A");
  CHECK(std::get<EnvSource>(decoded->secrets[0].source).variable == "X");
  CHECK(std::get<FileSource>(decoded->secrets[1].source).path == "/f");
  const auto& command = std::get<CommandSource>(decoded->secrets[2].source);
  CHECK(command.argv == std::vector<std::string>{"gh", "auth", ""});
  CHECK(command.lifetime == std::chrono::hours(1));
  const auto& oauth = std::get<OAuth2Source>(decoded->secrets[3].source);
  CHECK(oauth.token_url.ToString() == "https://id.example.com/token?x=y");
  CHECK(oauth.grant == OAuth2Source::Grant::kRefreshToken);
  CHECK(oauth.auth == OAuth2Source::Auth::kPost);
  CHECK(std::get<FileSource>(*oauth.refresh_token).path == "/home/me/refresh");
  CHECK(oauth.scopes.size() == 2);
  CHECK(oauth.private_network);
  const auto& app = std::get<GitHubAppSource>(decoded->secrets[4].source);
  CHECK(std::get<CommandSource>(app.private_key).argv[1] == "show app");
  CHECK(app.permissions.front().second == "read");
  CHECK(decoded->extra_roots.front().second == "-----BEGIN");
  REQUIRE(decoded->servers.size() == 2);
  const auto& server = decoded->servers[0];
  CHECK(server.host == "*.corp.example");
  CHECK(server.declared_at == "policy.lua:2");
  CHECK(server.roots.front().second == "-----BEGIN A");
  CHECK(server.pins.front() == std::string(32, '\x01'));
  REQUIRE(server.client);
  CHECK(server.client->chain.first == "client.pem");
  CHECK(server.client->key_file == "/key.pem");
  CHECK_FALSE(decoded->servers[1].client);
  REQUIRE(decoded->proxy);
  CHECK(decoded->proxy->from == ProxySpec::From::kSource);
  CHECK(std::get<FileSource>(decoded->proxy->source).path == "/proxy");
  CHECK(decoded->proxy->no_proxy == std::vector<std::string>{"*.corp.example"});
  CHECK(decoded->Encode() == Full().Encode());
}

TEST_CASE("a proxy's source is a variable or a file") {
  BrokerLaunch launch = Full();
  launch.proxy->source = CommandSource{{"x"}, "/", std::chrono::hours(1)};
  CHECK_FALSE(BrokerLaunch::Decode(launch.Encode()));
}

TEST_CASE("a broker's launch message cut anywhere, or with something behind it, is refused") {
  const std::string bytes = Full().Encode();
  for (size_t length = 0; length < bytes.size(); ++length) {
    CAPTURE(length);
    CHECK_FALSE(BrokerLaunch::Decode(std::string_view(bytes).substr(0, length)));
  }
  CHECK_FALSE(BrokerLaunch::Decode(bytes + '\0'));
}

std::string Encoded(BrokerAnswer::Kind kind, uint16_t secret, const std::string& text,
                    int64_t lifetime = -1) {
  BrokerAnswer answer;
  answer.kind = kind;
  answer.secret = secret;
  if (lifetime >= 0) answer.lifetime = std::chrono::milliseconds(lifetime);
  answer.bytes.text = text;
  return answer.Encode().text;
}

std::vector<std::string> Read(BrokerAnswerReader& reader, std::string_view bytes) {
  std::vector<std::string> seen;
  while (!bytes.empty()) {
    const auto [space, room] = reader.Space();
    const size_t size = std::min(room, bytes.size());
    std::memcpy(space, bytes.data(), size);
    reader.Stored(size);
    bytes.remove_prefix(size);
    for (;;) {
      auto answer = reader.Next();
      if (!answer) {
        seen.push_back("error");
        return seen;
      }
      if (!*answer) break;
      seen.push_back(std::to_string((*answer)->secret) + " " + (*answer)->bytes.text + " " +
                     std::to_string((*answer)->lifetime ? (*answer)->lifetime->count() : -1));
    }
  }
  return seen;
}

TEST_CASE("answers cut at any two places are read the same") {
  const std::string bytes = Encoded(BrokerAnswer::Kind::kValue, 7, "value", 5000) +
                            Encoded(BrokerAnswer::Kind::kFailure, 300, "why not") +
                            Encoded(BrokerAnswer::Kind::kValue, 0, "");
  const std::vector<std::string> expected = {"7 value 5000", "300 why not -1", "0  -1"};
  for (size_t first = 0; first <= bytes.size(); ++first) {
    for (size_t second = first; second <= bytes.size(); ++second) {
      BrokerAnswerReader reader;
      auto seen = Read(reader, bytes.substr(0, first));
      for (const auto& part : {bytes.substr(first, second - first), bytes.substr(second)}) {
        for (auto& more : Read(reader, part)) seen.push_back(more);
      }
      REQUIRE(seen == expected);
    }
  }
}

TEST_CASE("a lifetime that no clock could count is refused on both ways") {
  constexpr int64_t kLongest = kMaxValueLifetime.count();
  for (const int64_t lifetime : {kLongest + 1, INT64_MAX / 1'000'000, INT64_MAX - 1, INT64_MAX}) {
    CAPTURE(lifetime);
    BrokerAnswerReader reader;
    CHECK(Read(reader, Encoded(BrokerAnswer::Kind::kValue, 1, "v", lifetime)) ==
          std::vector<std::string>{"error"});
    BrokerLaunch launch = Full();
    std::get<CommandSource>(launch.secrets[2].source).lifetime =
        std::chrono::milliseconds(lifetime);
    CHECK_FALSE(BrokerLaunch::Decode(launch.Encode()));
  }
  BrokerAnswerReader reader;
  CHECK(Read(reader, Encoded(BrokerAnswer::Kind::kValue, 1, "v", kLongest)) ==
        std::vector<std::string>{"1 v " + std::to_string(kLongest)});
}

TEST_CASE("the largest answers fit, one behind the other") {
  const std::string value(BrokerAnswer::kMaxBytes, 'x');
  std::string bytes;
  for (int i = 0; i < 4; ++i) bytes += Encoded(BrokerAnswer::Kind::kValue, 1, value);
  BrokerAnswerReader reader;
  CHECK(Read(reader, bytes).size() == 4);
}

TEST_CASE("an answer of an unknown kind, too long or ended before now is refused") {
  const std::string good = Encoded(BrokerAnswer::Kind::kValue, 1, "v", 5);
  for (const auto& [at, byte] :
       {std::pair<size_t, char>{0, 5}, {1, 1}, {6, 2}, {7, 1}, {15, '\x80'}}) {
    std::string bad = good;
    bad[at] = byte;
    BrokerAnswerReader reader;
    CAPTURE(at);
    CHECK(Read(reader, bad) == std::vector<std::string>{"error"});
  }
}

TEST_CASE("a key that takes time, and a time out of bounds, are no outlets") {
  for (const auto& change : std::vector<std::function<void(BrokerLaunch&)>>{
           [](BrokerLaunch& launch) {
             launch.approvals->webhook->key = CommandSource{{"pass"}, "/", {}};
           },
           [](BrokerLaunch& launch) { launch.approvals->timeout = std::chrono::hours(1); },
           [](BrokerLaunch& launch) {
             launch.telemetry->headers = CommandSource{{"pass"}, "/", {}};
           }}) {
    BrokerLaunch launch = Full();
    REQUIRE(BrokerLaunch::Decode(launch.Encode()));
    change(launch);
    CHECK_FALSE(BrokerLaunch::Decode(launch.Encode()));
  }
}

TEST_CASE("an answer to a question comes back as it was, and no other is taken") {
  BrokerAnswer answer;
  answer.kind = BrokerAnswer::Kind::kApproval;
  answer.approval = ApprovalAnswer::kDenySession;
  answer.id = 77;
  answer.bytes.text = "the webhook";
  const std::string good = answer.Encode().text;
  BrokerAnswerReader reader;
  std::memcpy(reader.Space().first, good.data(), good.size());
  reader.Stored(good.size());
  const auto read = reader.Next();
  REQUIRE(read);
  REQUIRE(*read);
  CHECK((*read)->approval == ApprovalAnswer::kDenySession);
  CHECK((*read)->id == 77);
  CHECK((*read)->bytes.text == "the webhook");
  for (const auto& [at, byte] : {std::pair<size_t, char>{2, 5}, {3, 1}, {15, '\x80'}}) {
    std::string bad = good;
    bad[at] = byte;
    BrokerAnswerReader other;
    CHECK(Read(other, bad) == std::vector<std::string>{"error"});
  }
}

// ---- What the warden asks.

std::vector<std::string> ReadRequests(BrokerRequestReader& reader, std::string_view bytes) {
  std::vector<std::string> seen;
  reader.Take(bytes);
  for (;;) {
    const auto request = reader.Next();
    if (!request) return {"error"};
    if (!*request) return seen;
    seen.push_back(std::to_string(static_cast<int>((*request)->kind)) + " " +
                   std::to_string((*request)->secret) + " " + std::to_string((*request)->id) + " " +
                   (*request)->bytes);
  }
}

TEST_CASE("requests cut at any two places are read the same") {
  using Kind = BrokerRequest::Kind;
  const std::string bytes =
      BrokerRequest{.kind = Kind::kValue, .secret = 513}.Encode() +
      BrokerRequest{.kind = Kind::kAsk, .id = uint64_t{1} << 40, .bytes = "{}"}.Encode() +
      BrokerRequest{.kind = Kind::kFlush, .id = 2000}.Encode();
  const std::vector<std::string> expected = {"0 513 0 ", "1 0 1099511627776 {}", "4 0 2000 "};
  for (size_t first = 0; first <= bytes.size(); ++first) {
    for (size_t second = first; second <= bytes.size(); ++second) {
      BrokerRequestReader reader;
      std::vector<std::string> seen;
      for (const auto& part :
           {bytes.substr(0, first), bytes.substr(first, second - first), bytes.substr(second)}) {
        for (auto& one : ReadRequests(reader, part)) seen.push_back(std::move(one));
      }
      REQUIRE(seen == expected);
    }
  }
}

TEST_CASE("a request of an unknown kind, or too long, is refused") {
  const std::string good = BrokerRequest{.kind = BrokerRequest::Kind::kAsk, .bytes = "{}"}.Encode();
  for (const auto& [at, byte] :
       {std::pair<size_t, char>{0, 5}, {1, 1}, {6, 3}, {7, 1}, {15, '\x80'}}) {
    std::string bad = good;
    bad[at] = byte;
    CAPTURE(at);
    BrokerRequestReader reader;
    CHECK(ReadRequests(reader, bad) == std::vector<std::string>{"error"});
  }
}

}  // namespace
}  // namespace sallyport::runtime
