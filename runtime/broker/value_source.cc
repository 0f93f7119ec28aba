#include "runtime/broker/value_source.h"

#include <cstdio>
#include <utility>

#include "runtime/broker/signing.h"
#include "runtime/broker/token.h"

namespace sallyport::runtime {

namespace {

using Done = std::function<void(Result<Value>)>;

/// Calls WORK later; the Pending keeps that from happening.
Pending Later(Loop& loop, std::function<void()> work) {
  auto handle = std::make_shared<Loop::Handle>(loop.Post(std::move(work)));
  return Pending([handle] { *handle = {}; });
}

Pending ReadPlain(const SourceTools& tools, const PlainSource& source,
                  std::function<void(Result<Wiped>)> done) {
  if (const auto* command = std::get_if<CommandSource>(&source)) {
    return tools.errands->Run(*command, std::move(done));
  }
  return Later(tools.loop, [&local = tools.local, source, done = std::move(done)] {
    const auto* env = std::get_if<EnvSource>(&source);
    done(env != nullptr ? local.Read(*env) : local.Read(std::get<FileSource>(source)));
  });
}

/// A variable, a file or a command.
class PlainValue final : public ValueSource {
 public:
  PlainValue(PlainSource source, const SourceTools& tools)
      : source_(std::move(source)), tools_(tools) {}

  Pending Fetch(Done done) override {
    return ReadPlain(tools_, source_, [this, done = std::move(done)](Result<Wiped> read) {
      if (!read) return done(tl::unexpected(std::move(read).error()));
      Value value{.bytes = *std::move(read), .lifetime = {}};
      const auto* command = std::get_if<CommandSource>(&source_);
      if (command != nullptr && command->lifetime.count() > 0) value.lifetime = command->lifetime;
      done(std::move(value));
    });
  }

 private:
  const PlainSource source_;
  const SourceTools tools_;
};

/// What the two below have in common: steps with one way out.
class SteppedValue : public ValueSource {
 public:
  Pending Fetch(Done done) final {
    done_ = std::move(done);
    Begin();
    return Pending([this] {
      done_ = nullptr;
      step_ = {};
    });
  }

 protected:
  explicit SteppedValue(const SourceTools& tools) : tools_(tools) {}
  virtual void Begin() = 0;

  /// SOURCE's value goes to NEXT; without one this Fetch() is over.
  void Read(const PlainSource& source, const char* what, std::function<void(Wiped)> next) {
    step_ = ReadPlain(tools_, source, [this, what, next = std::move(next)](Result<Wiped> read) {
      if (!read) return Finish(tl::unexpected(std::move(read).error().In(what)));
      next(*std::move(read));
    });
  }
  void Post(HttpRequest request, std::function<void(HttpAnswer)> next) {
    step_ = tools_.http->Post(std::move(request),
                              [this, next = std::move(next)](Result<HttpAnswer> answer) {
                                if (!answer)
                                  return Finish(tl::unexpected(std::move(answer).error()));
                                next(*std::move(answer));
                              });
  }
  void Finish(Result<Value> result) {
    const auto done = std::exchange(done_, nullptr);
    if (done) done(std::move(result));
  }

  const SourceTools tools_;
  Pending step_;

 private:
  Done done_;
};

/// Begin -> OnClientSecret -> AskForToken -> OnAnswer -> (the new refresh token is kept) -> Finish
class OAuth2Value final : public SteppedValue {
 public:
  OAuth2Value(std::string name, OAuth2Source source, const SourceTools& tools)
      : SteppedValue(tools), name_(std::move(name)), source_(std::move(source)) {}

 private:
  void Begin() override {
    if (!source_.client_secret) return OnClientSecret({});
    Read(*source_.client_secret, "client_secret",
         [this](Wiped secret) { OnClientSecret(std::move(secret)); });
  }

  void OnClientSecret(Wiped secret) {
    client_secret_ = std::move(secret);
    if (!source_.refresh_token || !newer_refresh_token_.text.empty()) {
      return AskForToken(Wiped(newer_refresh_token_.text));
    }
    const auto next = [this](Wiped token) { AskForToken(std::move(token)); };
    const auto* file = std::get_if<FileSource>(&*source_.refresh_token);
    if (file == nullptr) return Read(*source_.refresh_token, "refresh_token", next);
    // Read anew each time: it is replaced as tokens rotate, perhaps by another sandbox.
    step_ = tools_.errands->ReadFile(file->path, [this, next](Result<Wiped> read) {
      if (!read) return Finish(tl::unexpected(std::move(read).error().In("refresh_token")));
      next(*std::move(read));
    });
  }

  void AskForToken(Wiped refresh_token) {
    refresh_token_ = std::move(refresh_token);
    Post(OAuth2Request(source_, client_secret_.text, refresh_token_.text),
         [this](HttpAnswer answer) { OnAnswer(answer); });
  }

  void OnAnswer(const HttpAnswer& answer) {
    auto token = ReadOAuth2Answer(answer, {client_secret_.text, refresh_token_.text});
    client_secret_ = Wiped();
    if (!token)
      return Finish(tl::unexpected(std::move(token).error().In(source_.token_url.ToString())));
    value_ = Value{.bytes = std::move(token->value), .lifetime = token->lifetime};
    const bool rotated = source_.refresh_token && token->refresh_token &&
                         token->refresh_token->text != refresh_token_.text;
    refresh_token_ = Wiped();
    if (!rotated) return Deliver();
    newer_refresh_token_ = *std::move(token->refresh_token);
    const auto* file = std::get_if<FileSource>(&*source_.refresh_token);
    if (file == nullptr) return Deliver();
    step_ = tools_.errands->ReplaceFile(file->path, newer_refresh_token_,
                                        [this](Result<Wiped> replaced) { OnReplaced(replaced); });
  }

  void OnReplaced(const Result<Wiped>& replaced) {
    if (replaced) {
      newer_refresh_token_ = Wiped();  // The file has it.
    } else {
      std::fprintf(stderr,
                   "sandbox-broker: secret %s: the new refresh token could not be kept: %s\n",
                   name_.c_str(), replaced.error().message().c_str());
    }
    Deliver();
  }

  void Deliver() { Finish(std::move(value_)); }

  const std::string name_;
  const OAuth2Source source_;
  Wiped client_secret_;        // While one request needs it.
  Wiped refresh_token_;        // Likewise.
  Wiped newer_refresh_token_;  // One that the source does not have: it came from the server.
  Value value_;
};

/// Begin -> OnKey -> OnAnswer -> Finish
class GitHubAppValue final : public SteppedValue {
 public:
  GitHubAppValue(GitHubAppSource source, const SourceTools& tools)
      : SteppedValue(tools), source_(std::move(source)) {}

 private:
  void Begin() override {
    Read(source_.private_key, "private_key", [this](Wiped key) { OnKey(key); });
  }

  void OnKey(const Wiped& key) {
    const auto jwt =
        SignRs256(GitHubAppClaims(source_, std::chrono::system_clock::now()), key.text);
    if (!jwt) return Finish(tl::unexpected(jwt.error()));
    Post(InstallationTokenRequest(source_, jwt->text),
         [this](HttpAnswer answer) { OnAnswer(answer); });
  }

  void OnAnswer(const HttpAnswer& answer) {
    auto token = ReadInstallationToken(answer, std::chrono::system_clock::now());
    if (!token) {
      return Finish(tl::unexpected(std::move(token).error().In(
          source_.base_url.ToString() + " (installation " + source_.installation_id + ")")));
    }
    Finish(Value{.bytes = std::move(token->value), .lifetime = token->lifetime});
  }

  const GitHubAppSource source_;
};

}  // namespace

std::unique_ptr<ValueSource> MakeValueSource(const std::string& name, const SecretSource& source,
                                             const SourceTools& tools) {
  if (const auto* oauth = std::get_if<OAuth2Source>(&source))
    return std::make_unique<OAuth2Value>(name, *oauth, tools);
  if (const auto* app = std::get_if<GitHubAppSource>(&source))
    return std::make_unique<GitHubAppValue>(*app, tools);
  std::unique_ptr<ValueSource> made;
  VisitPlainSources(
      source, [&](const PlainSource& plain) { made = std::make_unique<PlainValue>(plain, tools); });
  return made;
}

Errands::Declared ErrandsOf(const std::vector<SecretSource>& sources) {
  Errands::Declared declared;
  for (const auto& source : sources) {
    VisitPlainSources(source, [&](const PlainSource& plain) {
      if (const auto* command = std::get_if<CommandSource>(&plain))
        declared.commands.push_back(*command);
    });
    const auto* oauth = std::get_if<OAuth2Source>(&source);
    if (oauth == nullptr || !oauth->refresh_token) continue;
    if (const auto* file = std::get_if<FileSource>(&*oauth->refresh_token))
      declared.files.push_back(file->path);
  }
  return declared;
}

}  // namespace sallyport::runtime
