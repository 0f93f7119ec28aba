#include "runtime/warden/secret_commands.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <utility>

namespace sallyport::runtime {
namespace {

constexpr size_t kMaxValue = 64 * 1024;  // As Secret::Create() has it.

Result<secrets::Secret> ReadValue(const UniqueFd& file) {
  // A file of any other kind could keep us waiting.
  struct stat info {};
  if (!file.valid() || fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return Fail(Code::kInvalid, "the value is missing");
  }
  if (static_cast<size_t>(info.st_size) > kMaxValue)
    return Fail(Code::kLimit, "the value is too long");
  std::array<char, kMaxValue> bytes;
  const ssize_t got = pread(file.get(), bytes.data(), bytes.size(), 0);
  if (got < 0) return tl::unexpected(Error::FromErrno("reading the value"));
  auto secret = secrets::Secret::Create(std::string_view(bytes.data(), static_cast<size_t>(got)));
  secrets::WipeBytes(bytes.data(), static_cast<size_t>(got));
  return secret;
}

/// Only whole names: whose names a wildcard spans is looked up in a file, which a confined process
/// can't open. The policy may have wildcards.
Result<std::vector<HostPattern>> ReadHosts(const std::vector<std::string>& arguments) {
  std::vector<HostPattern> hosts;
  for (size_t i = 1; i < arguments.size(); ++i) {
    auto pattern = HostPattern::Parse(arguments[i]);
    if (!pattern) return tl::unexpected(std::move(pattern).error().In(arguments[i]));
    if (pattern->is_wildcard()) {
      return Fail(Code::kInvalid,
                  arguments[i] + ": name each host here; wildcards belong into the policy");
    }
    hosts.push_back(*std::move(pattern));
  }
  return hosts;
}

ControlReply Answer(Status status, std::string text) {
  if (!status) return {.done = false, .text = status.error().message(), .rows = {}};
  return {.done = true, .text = std::move(text), .rows = {}};
}

}  // namespace

ControlReply SecretCommands::Run(const ControlRequest& request, UniqueFd attached) {
  const auto& arguments = request.arguments;
  if (request.verb == "secret ls" && arguments.empty()) return List();
  if (request.verb == "secret add" && arguments.size() >= 2) {
    Status added = Add(arguments, attached);
    const std::string* placeholder = added ? store_.PlaceholderOf(arguments[0]) : nullptr;
    return Answer(std::move(added), placeholder != nullptr ? *placeholder : "");
  }
  if (request.verb == "secret rotate" && arguments.size() == 1) {
    return Answer(Rotate(arguments, attached), "");
  }
  if (request.verb == "secret revoke" && arguments.size() == 1)
    return Answer(Revoke(arguments), "");
  return {.done = false, .text = "this sandbox does not know " + request.verb, .rows = {}};
}

ControlReply SecretCommands::List() const {
  ControlReply reply{.done = true, .text = "", .rows = {{"NAME", "HOSTS", "STATE"}}};
  for (const secrets::SecretSummary& secret : store_.List()) {
    reply.rows.push_back(
        {secret.name, secret.hosts, secret.unavailable.empty() ? "ready" : secret.unavailable});
  }
  return reply;
}

Status SecretCommands::Add(const std::vector<std::string>& arguments, const UniqueFd& attached) {
  auto hosts = ReadHosts(arguments);
  if (!hosts) return tl::unexpected(std::move(hosts).error());
  auto value = ReadValue(attached);
  if (!value) return tl::unexpected(std::move(value).error());
  SecretSpec spec;
  spec.name = arguments[0];
  spec.hosts = *std::move(hosts);
  spec.declared_at = "secret add";
  if (Status added = store_.Add(spec, *std::move(value)); !added) return added;
  engine_.SetPlaceholder(spec.name, *store_.PlaceholderOf(spec.name));
  Record("secret add", spec.name);
  engine_.AddSecret(std::move(spec));
  return {};
}

Status SecretCommands::Rotate(const std::vector<std::string>& arguments, const UniqueFd& attached) {
  auto value = ReadValue(attached);
  if (!value) return tl::unexpected(std::move(value).error());
  if (Status rotated = store_.Rotate(arguments[0], *std::move(value)); !rotated) return rotated;
  Record("secret rotate", arguments[0]);
  return {};
}

Status SecretCommands::Revoke(const std::vector<std::string>& arguments) {
  if (Status revoked = store_.Revoke(arguments[0]); !revoked) return revoked;
  Record("secret revoke", arguments[0]);
  return {};
}

void SecretCommands::Record(const std::string& verb, const std::string& name) {
  AuditRecord record;
  record.transport = "control";
  record.method = verb;
  record.secrets = {name};
  record.allowed = true;
  audit_.Write(record);
}

}  // namespace sallyport::runtime
