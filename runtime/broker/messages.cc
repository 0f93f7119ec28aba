#include "runtime/broker/messages.h"

#include <cstring>

#include "base/check.h"
#include "guest/protocol/cbor_sequence.h"

namespace sallyport::runtime {

using guest::CborSequence;
using guest::CborWriter;

namespace {

enum SourceKind : int64_t { kEnv = 0, kFile = 1, kCommand = 2, kOAuth2 = 3, kGitHubApp = 4 };

void WriteTexts(CborWriter& out, const std::vector<std::string>& texts) {
  out.Array(texts.size());
  for (const auto& text : texts) out.Text(text);
}

void Write(CborWriter& out, const EnvSource& source) {
  out.Array(2);
  out.Int(kEnv);
  out.Text(source.variable);
}

void Write(CborWriter& out, const FileSource& source) {
  out.Array(2);
  out.Int(kFile);
  out.Text(source.path);
}

void Write(CborWriter& out, const CommandSource& source) {
  out.Array(4);
  out.Int(kCommand);
  WriteTexts(out, source.argv);
  out.Text(source.folder);
  out.Int(source.lifetime.count());
}

void Write(CborWriter& out, const PlainSource& source) {
  std::visit([&out](const auto& plain) { Write(out, plain); }, source);
}

/// An array of none or one.
void Write(CborWriter& out, const std::optional<PlainSource>& source) {
  out.Array(source ? 1 : 0);
  if (source) Write(out, *source);
}

void Write(CborWriter& out, const OAuth2Source& source) {
  out.Array(10);
  out.Int(kOAuth2);
  out.Text(source.token_url.ToString());
  out.Int(source.grant == OAuth2Source::Grant::kRefreshToken ? 1 : 0);
  out.Int(source.auth == OAuth2Source::Auth::kPost ? 1 : 0);
  out.Text(source.client_id);
  Write(out, source.client_secret);
  Write(out, source.refresh_token);
  WriteTexts(out, source.scopes);
  out.Array(source.audience ? 1 : 0);
  if (source.audience) out.Text(*source.audience);
  out.Bool(source.private_network);
}

void Write(CborWriter& out, const GitHubAppSource& source) {
  out.Array(8);
  out.Int(kGitHubApp);
  out.Text(source.base_url.ToString());
  out.Text(source.app_id);
  out.Text(source.installation_id);
  Write(out, source.private_key);
  WriteTexts(out, source.repositories);
  out.Array(source.permissions.size());
  for (const auto& [name, level] : source.permissions) {
    out.Array(2);
    out.Text(name);
    out.Text(level);
  }
  out.Bool(source.private_network);
}

HttpUrl ReadUrl(CborSequence& in) {
  const std::string text = in.Text();
  auto url = HttpUrl::Parse(text);
  if (url && url->ToString() == text) return *std::move(url);
  in.Refuse("not a URL");
  return {};
}

/// 0 or 1.
bool ReadChoice(CborSequence& in) {
  const int64_t choice = in.Int();
  if (choice != 0 && choice != 1) in.Refuse("an unknown choice");
  return choice == 1;
}

bool ReadPresence(CborSequence& in) {
  const size_t count = in.Array();
  if (count > 1) in.Refuse("more than one value");
  return count == 1;
}

CommandSource ReadCommand(CborSequence& in) {
  CommandSource source{.argv = in.Texts(), .folder = {}};
  source.folder = in.Text();
  source.lifetime = std::chrono::milliseconds(in.Int());
  if (source.argv.empty() || source.lifetime.count() < 0 || source.lifetime > kMaxValueLifetime) {
    in.Refuse("not a command");
  }
  return source;
}

/// What follows ELEMENTS and KIND.
PlainSource ReadPlainAs(CborSequence& in, size_t elements, int64_t kind) {
  if (kind == kEnv && elements == 2) return EnvSource{in.Text()};
  if (kind == kFile && elements == 2) return FileSource{in.Text()};
  if (kind == kCommand && elements == 4) return ReadCommand(in);
  in.Refuse("an unknown source");
  return EnvSource{};
}

PlainSource ReadPlain(CborSequence& in) {
  const size_t elements = in.Array();
  return ReadPlainAs(in, elements, in.Int());
}

OAuth2Source ReadOAuth2(CborSequence& in) {
  OAuth2Source source;
  source.token_url = ReadUrl(in);
  source.grant =
      ReadChoice(in) ? OAuth2Source::Grant::kRefreshToken : OAuth2Source::Grant::kClientCredentials;
  source.auth = ReadChoice(in) ? OAuth2Source::Auth::kPost : OAuth2Source::Auth::kBasic;
  source.client_id = in.Text();
  if (ReadPresence(in)) source.client_secret = ReadPlain(in);
  if (ReadPresence(in)) source.refresh_token = ReadPlain(in);
  source.scopes = in.Texts();
  if (ReadPresence(in)) source.audience = in.Text();
  source.private_network = in.Bool();
  return source;
}

GitHubAppSource ReadGitHubApp(CborSequence& in) {
  GitHubAppSource source;
  source.base_url = ReadUrl(in);
  source.app_id = in.Text();
  source.installation_id = in.Text();
  source.private_key = ReadPlain(in);
  source.repositories = in.Texts();
  for (size_t left = in.Array(); left > 0 && in.ok(); --left) {
    in.Expect(2);
    auto& [name, level] = source.permissions.emplace_back();
    name = in.Text();
    level = in.Text();
  }
  source.private_network = in.Bool();
  return source;
}

SecretSource ReadSource(CborSequence& in) {
  const size_t elements = in.Array();
  const int64_t kind = in.Int();
  if (kind == kOAuth2 && elements == 10) return ReadOAuth2(in);
  if (kind == kGitHubApp && elements == 8) return ReadGitHubApp(in);
  return std::visit([](auto plain) { return SecretSource(std::move(plain)); },
                    ReadPlainAs(in, elements, kind));
}

void Write(CborWriter& out, const SecretSource& source) {
  std::visit([&out](const auto& kind) { Write(out, kind); }, source);
}

/// An array of none or one.
void Write(CborWriter& out, const std::optional<ProxySpec>& proxy) {
  out.Array(proxy ? 1 : 0);
  if (!proxy) return;
  out.Array(5);
  out.Int(static_cast<int64_t>(proxy->from));
  out.Text(proxy->url);
  Write(out, proxy->source);
  WriteTexts(out, proxy->no_proxy);
  out.Text(proxy->declared_at);
}

std::optional<ProxySpec> ReadProxy(CborSequence& in) {
  if (!ReadPresence(in)) return std::nullopt;
  ProxySpec proxy;
  in.Expect(5);
  const int64_t from = in.Int();
  if (from < 0 || from > static_cast<int64_t>(ProxySpec::From::kEnvironment)) {
    in.Refuse("an unknown kind of proxy");
    return std::nullopt;
  }
  proxy.from = static_cast<ProxySpec::From>(from);
  proxy.url = in.Text();
  proxy.source = ReadSource(in);
  if (!std::holds_alternative<EnvSource>(proxy.source) &&
      !std::holds_alternative<FileSource>(proxy.source)) {
    in.Refuse("a proxy's source is a variable or a file");
  }
  proxy.no_proxy = in.Texts();
  proxy.declared_at = in.Text();
  return proxy;
}

using Files = std::vector<std::pair<std::string, std::string>>;

void Write(CborWriter& out, const Files& files) {
  out.Array(files.size());
  for (const auto& [name, text] : files) {
    out.Array(2);
    out.Text(name);
    out.Text(text);
  }
}

std::pair<std::string, std::string> ReadFile(CborSequence& in) {
  in.Expect(2);
  std::pair<std::string, std::string> file;
  file.first = in.Text();
  file.second = in.Text();
  return file;
}

Files ReadFiles(CborSequence& in) {
  Files files;
  for (size_t left = in.Array(); left > 0 && in.ok(); --left) files.push_back(ReadFile(in));
  return files;
}

void Write(CborWriter& out, const BrokerLaunch::Server& server) {
  out.Array(5);
  out.Text(server.host);
  out.Text(server.declared_at);
  Write(out, server.roots);
  WriteTexts(out, server.pins);
  out.Array(server.client ? 3 : 0);
  if (!server.client) return;
  out.Text(server.client->chain.first);
  out.Text(server.client->chain.second);
  out.Text(server.client->key_file);
}

BrokerLaunch::Server ReadServer(CborSequence& in) {
  BrokerLaunch::Server server;
  in.Expect(5);
  server.host = in.Text();
  server.declared_at = in.Text();
  server.roots = ReadFiles(in);
  server.pins = in.Texts();
  const size_t identity = in.Array();
  if (identity != 0 && identity != 3) in.Refuse("not a client certificate");
  if (identity != 3) return server;
  auto& client = server.client.emplace();
  client.chain.first = in.Text();
  client.chain.second = in.Text();
  client.key_file = in.Text();
  return server;
}

/// An array of none or one, as everything here that may be missing.
void Write(CborWriter& out, const std::optional<ApprovalSpec>& approvals) {
  out.Array(approvals ? 1 : 0);
  if (!approvals) return;
  out.Array(3);
  out.Array(approvals->webhook ? 1 : 0);
  if (const auto& webhook = approvals->webhook) {
    out.Array(3);
    out.Text(webhook->url.ToString());
    Write(out, webhook->key);
    out.Bool(webhook->private_network);
  }
  out.Array(approvals->command ? 1 : 0);
  if (approvals->command) Write(out, *approvals->command);
  out.Int(approvals->timeout.count());
}

/// A variable or a file, if there is one.
std::optional<PlainSource> ReadQuickSource(CborSequence& in) {
  if (!ReadPresence(in)) return std::nullopt;
  auto source = ReadPlain(in);
  if (std::holds_alternative<CommandSource>(source)) in.Refuse("a command where none may be");
  return source;
}

std::optional<ApprovalSpec> ReadApprovals(CborSequence& in) {
  if (!ReadPresence(in)) return std::nullopt;
  ApprovalSpec approvals;
  in.Expect(3);
  if (ReadPresence(in)) {
    in.Expect(3);
    auto& webhook = approvals.webhook.emplace();
    webhook.url = ReadUrl(in);
    webhook.key = ReadQuickSource(in);
    webhook.private_network = in.Bool();
  }
  if (ReadPresence(in)) {
    const auto source = ReadPlain(in);
    const auto* command = std::get_if<CommandSource>(&source);
    if (command == nullptr) in.Refuse("not a command");
    approvals.command = command != nullptr ? *command : CommandSource{.argv = {}, .folder = {}};
  }
  const int64_t timeout = in.Int();
  approvals.timeout = std::chrono::milliseconds(timeout);
  if (timeout <= 0 || approvals.timeout > ApprovalSpec::kMaxTimeout) in.Refuse("not a time to wait");
  return approvals;
}

void Write(CborWriter& out, const std::optional<TelemetrySpec>& telemetry) {
  out.Array(telemetry ? 1 : 0);
  if (!telemetry) return;
  out.Array(3);
  out.Text(telemetry->url.ToString());
  Write(out, telemetry->headers);
  out.Text(telemetry->sandbox);
}

std::optional<TelemetrySpec> ReadTelemetry(CborSequence& in) {
  if (!ReadPresence(in)) return std::nullopt;
  TelemetrySpec telemetry;
  in.Expect(3);
  telemetry.url = ReadUrl(in);
  telemetry.headers = ReadQuickSource(in);
  telemetry.sandbox = in.Text();
  return telemetry;
}

template <class Number>
Number ReadNumber(const char* bytes) {
  uint64_t number = 0;
  for (size_t i = sizeof(Number); i > 0; --i)
    number = number << 8 | static_cast<unsigned char>(bytes[i - 1]);
  return static_cast<Number>(number);
}

template <class Number>
void AppendNumber(Number number, std::string& out) {
  auto rest = static_cast<uint64_t>(number);
  for (size_t i = 0; i < sizeof(Number); ++i, rest >>= 8)
    out.push_back(static_cast<char>(rest & 0xff));
}

}  // namespace

std::string BrokerLaunch::Encode() const {
  CborWriter out;
  out.Array(7);
  out.Array(secrets.size());
  for (const auto& item : secrets) {
    out.Array(2);
    out.Text(item.name);
    Write(out, item.source);
  }
  WriteTexts(out, resolvers);
  Write(out, extra_roots);
  out.Array(servers.size());
  for (const auto& server : servers) Write(out, server);
  Write(out, proxy);
  Write(out, approvals);
  Write(out, telemetry);
  return out.Take();
}

Result<BrokerLaunch> BrokerLaunch::Decode(std::string_view bytes) {
  CborSequence in(bytes);
  BrokerLaunch launch;
  in.Expect(7);
  for (size_t left = in.Array(); left > 0 && in.ok(); --left) {
    in.Expect(2);
    auto& item = launch.secrets.emplace_back();
    item.name = in.Text();
    item.source = ReadSource(in);
  }
  launch.resolvers = in.Texts();
  launch.extra_roots = ReadFiles(in);
  for (size_t left = in.Array(); left > 0 && in.ok(); --left) {
    launch.servers.push_back(ReadServer(in));
  }
  launch.proxy = ReadProxy(in);
  launch.approvals = ReadApprovals(in);
  launch.telemetry = ReadTelemetry(in);
  if (launch.secrets.size() > UINT16_MAX) in.Refuse("too many secrets");
  if (auto status = in.Finish(); !status) {
    return tl::unexpected(std::move(status).error().In("launch message of the broker"));
  }
  return launch;
}

Wiped BrokerAnswer::Encode() const {
  SALLYPORT_CHECK(bytes.text.size() <= kMaxBytes);
  Wiped out;
  out.text.reserve(kHeadSize + bytes.text.size());
  AppendNumber(static_cast<uint8_t>(kind), out.text);
  AppendNumber(uint8_t{0}, out.text);
  const bool is_approval = kind == Kind::kApproval;
  AppendNumber(is_approval ? static_cast<uint16_t>(approval) : secret, out.text);
  AppendNumber(static_cast<uint32_t>(bytes.text.size()), out.text);
  const int64_t time = lifetime ? int64_t{lifetime->count()} : int64_t{-1};
  AppendNumber(is_approval ? static_cast<int64_t>(id) : time, out.text);
  out.text.append(bytes.text);
  return out;
}

BrokerAnswerReader::BrokerAnswerReader() {
  buffer_.text.resize(2 * (BrokerAnswer::kHeadSize + BrokerAnswer::kMaxBytes));
}

std::pair<char*, size_t> BrokerAnswerReader::Space() {
  if (begin_ > 0) {
    std::memmove(buffer_.text.data(), buffer_.text.data() + begin_, end_ - begin_);
    secrets::WipeBytes(buffer_.text.data() + end_ - begin_, begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  return {buffer_.text.data() + end_, buffer_.text.size() - end_};
}

void BrokerAnswerReader::Stored(size_t size) {
  end_ += size;
}

Result<std::optional<BrokerAnswer>> BrokerAnswerReader::Next() {
  if (end_ - begin_ < BrokerAnswer::kHeadSize) return std::nullopt;
  const char* head = buffer_.text.data() + begin_;
  const auto kind = ReadNumber<uint8_t>(head);
  const auto length = ReadNumber<uint32_t>(head + 4);
  const auto lifetime = ReadNumber<int64_t>(head + 8);
  const bool is_approval = kind == static_cast<uint8_t>(BrokerAnswer::Kind::kApproval);
  const auto secret = ReadNumber<uint16_t>(head + 2);
  if (kind > static_cast<uint8_t>(BrokerAnswer::Kind::kFlushed) || head[1] != 0 ||
      length > BrokerAnswer::kMaxBytes || lifetime < (is_approval ? 0 : -1) ||
      (!is_approval && lifetime > kMaxValueLifetime.count()) ||
      (is_approval && secret > static_cast<uint16_t>(ApprovalAnswer::kDenySession))) {
    return Fail(Code::kInvalid, "the broker broke its protocol");
  }
  if (end_ - begin_ < BrokerAnswer::kHeadSize + length) return std::nullopt;
  BrokerAnswer answer;
  answer.kind = static_cast<BrokerAnswer::Kind>(kind);
  if (is_approval) {
    answer.approval = static_cast<ApprovalAnswer>(secret);
    answer.id = static_cast<uint64_t>(lifetime);
  } else {
    answer.secret = secret;
    if (lifetime >= 0) answer.lifetime = std::chrono::milliseconds(lifetime);
  }
  answer.bytes.text.assign(head + BrokerAnswer::kHeadSize, length);
  begin_ += BrokerAnswer::kHeadSize + length;
  (void)Space();  // What was taken out is wiped now, not when the next answer comes.
  return answer;
}

}  // namespace sallyport::runtime
