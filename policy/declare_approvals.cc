#include <algorithm>

#include "policy/declarations.h"

// `sandbox { approvals = { … } }`: who is asked, besides the user at his terminal.

namespace sallyport::policy {
namespace {

constexpr lua_Integer kMaxArguments = 256;
constexpr char kCommand[] = "{ \"program\", \"argument\" }";

/// What a webhook's questions are signed with: read by the broker each time, so nothing that takes
/// time.
std::optional<PlainSource> ReadKey(TableReader& reader) {
  if (!reader.Has("key")) return std::nullopt;
  const auto source = ReadSource(reader, "key");
  if (!source) return std::nullopt;
  if (const auto* env = std::get_if<EnvSource>(&*source)) return *env;
  if (const auto* file = std::get_if<FileSource>(&*source)) return *file;
  reader.Error("'key' must be env \"NAME\" or file \"path\"");
  return std::nullopt;
}

void ReadWebhook(TableReader& reader, ApprovalSpec& approvals) {
  const auto text = reader.String("webhook");
  if (!text) {
    for (const char* field : {"key", "private"}) {
      if (reader.Has(field) && !reader.Has("webhook")) {
        reader.Error("'" + std::string(field) + "' has no effect without 'webhook'");
      }
    }
    return;
  }
  ApprovalWebhook webhook;
  webhook.private_network = reader.Bool("private").value_or(false);
  auto url = ReadServerUrl(reader, "webhook", *text, webhook.private_network);
  webhook.key = ReadKey(reader);
  if (!url) return;
  webhook.url = *std::move(url);
  approvals.webhook = std::move(webhook);
}

void ReadCommand(TableReader& reader, const std::string& folder, ApprovalSpec& approvals) {
  CommandSource command{.argv = {}, .folder = folder};
  const bool there = reader.ForEach("command", TableReader::Tables::kLists, [&](int index) {
    auto argument = ReadString(reader.lua(), index);
    if (!argument || argument->find('\0') != argument->npos) {
      return reader.TypeError("command", std::string("a list of strings, as in ") + kCommand,
                              index);
    }
    command.argv.push_back(*std::move(argument));
  });
  if (!there) return;
  if (command.argv.empty() || command.argv.front().empty() ||
      command.argv.size() > static_cast<size_t>(kMaxArguments)) {
    return reader.Error("'command' names no program, as in command = " + std::string(kCommand));
  }
  approvals.command = std::move(command);
}

}  // namespace

void ReadApprovals(TableReader& sandbox, Loader& loader) {
  if (!sandbox.Has("approvals")) return;
  lua_State* lua = sandbox.lua();
  lua_pushstring(lua, "approvals");
  lua_rawget(lua, sandbox.index());
  if (lua_type(lua, -1) != LUA_TTABLE) {
    sandbox.TypeError("approvals", "a table, as in { webhook = \"https://...\" }", -1);
    lua_pop(lua, 1);
    return;
  }
  TableReader reader(sandbox, -1, "approvals");
  reader.Expect({"webhook", "key", "private", "command", "timeout"});
  ApprovalSpec approvals;
  ReadWebhook(reader, approvals);
  ReadCommand(reader, loader.folder, approvals);
  if (const auto text = reader.String("timeout")) {
    const auto timeout = ParseDuration(*text);
    if (timeout && *timeout >= std::chrono::seconds(1) && *timeout <= ApprovalSpec::kMaxTimeout) {
      approvals.timeout = *timeout;
    } else {
      reader.Error("'timeout' is a time from \"1s\" to \"10m\", as in timeout = \"60s\"");
    }
  }
  if (!reader.Has("webhook") && !reader.Has("command")) {
    reader.Error("names nobody to ask: add a 'webhook' or a 'command'");
  }
  loader.declared.sandbox.approvals = std::move(approvals);
  lua_pop(lua, 1);
}

}  // namespace sallyport::policy
