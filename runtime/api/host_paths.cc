#include "runtime/api/host_paths.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/unique_fd.h"
#include "runtime/api/path_walk.h"
#include "runtime/api/shown_places.h"

namespace sallyport {
namespace {

using Use = HostPath::Use;

constexpr int kMaxInterpreters = 4;                    // BINPRM_MAX_RECURSION of the kernel.
constexpr size_t kMaxShebang = 256;                    // BINPRM_BUF_SIZE.
constexpr const char* kDefaultPath = "/bin:/usr/bin";  // Of execvpe(3).

/// Where a name without a slash is looked for. An empty entry is FOLDER, where the command runs.
std::vector<std::string> PathFolders(const std::string& folder) {
  const char* variable = std::getenv("PATH");
  std::string_view left = variable == nullptr ? kDefaultPath : variable;
  std::vector<std::string> folders;
  while (true) {
    const size_t end = std::min(left.find(':'), left.size());
    const std::string entry(left.substr(0, end));
    folders.push_back(entry.starts_with('/') ? entry : folder + "/" + entry);
    if (end == left.size()) return folders;
    left.remove_prefix(end + 1);
  }
}

/// The words of FILE's `#!` line; none where it has none.
std::vector<std::string> Interpreter(const std::string& file) {
  const UniqueFd opened(open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  std::array<char, kMaxShebang> head;
  struct stat info {};
  if (!opened.valid() || fstat(opened.get(), &info) != 0 || !S_ISREG(info.st_mode)) return {};
  const ssize_t size = read(opened.get(), head.data(), head.size());
  if (size < 2 || head[0] != '#' || head[1] != '!') return {};
  std::string line(head.data() + 2, static_cast<size_t>(size) - 2);
  line.resize(std::min(line.find('\n'), line.size()));
  std::vector<std::string> words;
  for (size_t start = line.find_first_not_of(" \t\r"); start != line.npos;) {
    const size_t end = std::min(line.find_first_of(" \t\r", start), line.size());
    words.push_back(line.substr(start, end - start));
    start = line.find_first_not_of(" \t\r", end);
  }
  return words;
}

/// A program with what interprets it. Of all places where PATH may find it each counts: what stands
/// before the others decides.
class ProgramPaths {
 public:
  ProgramPaths(const std::string& what, const std::string& folder, std::vector<HostPath>& paths)
      : what_(what), folder_(folder), paths_(paths) {}

  void Add(const std::string& name, int interpreters = 0) {
    std::vector<std::string> places = {name.starts_with('/') ? name : folder_ + "/" + name};
    if (name.find('/') == name.npos) {
      places = PathFolders(folder_);
      for (auto& place : places) place += "/" + name;
    }
    for (const auto& place : places) {
      paths_.push_back({.what = what_ + ": its program", .path = place, .folder = folder_});
      if (access(place.c_str(), X_OK) == 0) return AddInterpreter(place, interpreters);
    }
  }

  void AddArgument(const std::string& word) {
    for (const auto& part : {word, word.substr(word.find('=') + 1)}) {
      if (part.empty() || part.find('\0') != part.npos) continue;
      paths_.push_back({.what = what_ + ": its argument", .path = part, .folder = folder_});
    }
  }

 private:
  void AddInterpreter(const std::string& file, int interpreters) {
    const auto words = Interpreter(file);
    if (words.empty() || interpreters == kMaxInterpreters) return;
    Add(words[0], interpreters + 1);
    for (size_t i = 1; i < words.size(); ++i) AddArgument(words[i]);
    // "#!/usr/bin/env NAME": what is looked up in PATH is NAME.
    if (!words[0].ends_with("/env")) return;
    for (size_t i = 1; i < words.size(); ++i) {
      if (words[i].starts_with('-') || words[i].find('=') != std::string::npos) continue;
      return Add(words[i], interpreters + 1);
    }
  }

  const std::string& what_;
  const std::string& folder_;
  std::vector<HostPath>& paths_;
};

void AddUpstream(const policy::UpstreamOptions& upstream, std::vector<HostPath>& paths) {
  for (const auto& file : upstream.ca_files) {
    paths.push_back({.what = "upstream: the certificates", .path = file});
  }
  for (const auto& server : upstream.servers) {
    const std::string what = server.declared_at + ": upstream";
    for (const auto& file : server.ca_files) {
      paths.push_back({.what = what + ": the certificates", .path = file});
    }
    if (!server.client_cert) continue;
    paths.push_back({.what = what + ": the certificate", .path = server.client_cert->cert_file});
    paths.push_back(
        {.what = what + ": the key", .path = server.client_cert->key_file, .use = Use::kValue});
  }
  if (!upstream.proxy) return;
  for (const auto& source : upstream.proxy->Sources()) AddSource("upstream: proxy", source, paths);
}

Error Writable(const HostPath& path, const std::string& where, const std::string& source) {
  const bool mount_itself = where == source;
  return Error(Code::kDenied,
               path.what + " " + path.path + " lies in " + where +
                   (mount_itself ? "" : " of " + source) +
                   ", which is mounted in the sandbox to be written to, so that the sandbox could "
                   "replace it; move it elsewhere, mount a folder that does not hold it, or mount "
                   "read-only (mode = \"ro\", -v SRC:DST:ro)");
}

Status Check(const HostPath& path, const ShownPlaces& writable, const ShownPlaces& shown) {
  const PathWalk walk = WalkPath(path.path, path.folder);
  for (const auto& folder : path.use == Use::kShown ? walk.links : walk.folders) {
    if (const auto source = writable.Showing(folder)) {
      return tl::unexpected(Writable(path, folder, *source));
    }
  }
  if (path.use == Use::kShown) return {};
  if (const auto source = writable.Showing(walk.end)) {
    return tl::unexpected(Writable(path, walk.end, *source));
  }
  if (path.use != Use::kValue) return {};
  if (const auto source = shown.Showing(walk.end)) {
    return Fail(Code::kDenied,
                path.what + " " + path.path + " lies in " + *source +
                    ", which is mounted in the sandbox: a file that takes its place would be seen "
                    "there; move it elsewhere, or mount a folder that does not hold it");
  }
  return {};
}

}  // namespace

void AddCommand(const std::string& what, const CommandSource& command,
                std::vector<HostPath>& paths) {
  // Whatever the program is, it runs others by their names.
  for (const auto& folder : PathFolders(command.folder)) {
    paths.push_back({.what = what + ": the folder of PATH", .path = folder});
  }
  ProgramPaths program(what, command.folder, paths);
  program.Add(command.argv.front());
  for (size_t i = 1; i < command.argv.size(); ++i) program.AddArgument(command.argv[i]);
}

void AddSource(const std::string& what, const SecretSource& source, std::vector<HostPath>& paths) {
  VisitPlainSources(source, [&](const PlainSource& plain) {
    if (const auto* file = std::get_if<FileSource>(&plain)) {
      paths.push_back({.what = what + ": its file", .path = file->path, .use = Use::kValue});
    }
    if (const auto* command = std::get_if<CommandSource>(&plain)) {
      AddCommand(what + ": command " + command->argv.front(), *command, paths);
    }
  });
}

std::vector<HostPath> PathsOf(const policy::Engine& engine) {
  std::vector<HostPath> paths;
  for (const auto& secret : engine.secrets()) {
    AddSource(secret.declared_at + ": secret " + secret.name, secret.source, paths);
  }
  AddUpstream(engine.upstream(), paths);
  for (const auto& mount : engine.sandbox().mounts) {
    paths.push_back({.what = mount.is_template ? "the template" : "the mount's source",
                     .path = mount.source,
                     .use = mount.is_template ? Use::kObeyed : Use::kShown});
  }
  return paths;
}

Status CheckHostPaths(const std::vector<HostPath>& paths, const std::vector<HostMount>& mounts) {
  std::vector<std::string> writable;
  std::vector<std::string> all;
  for (const auto& mount : mounts) {
    all.push_back(mount.source);
    if (mount.writable) writable.push_back(mount.source);
  }
  if (all.empty()) return {};
  const ShownPlaces writable_places(writable);
  const ShownPlaces shown(all);
  for (const auto& path : paths) {
    if (auto status = Check(path, writable_places, shown); !status) return status;
  }
  return {};
}

}  // namespace sallyport
