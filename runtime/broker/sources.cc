#include "runtime/broker/sources.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "secrets/secret.h"

namespace sallyport::runtime {

namespace {

constexpr size_t kMaxValue = 64 * 1024;

std::map<std::string, std::string, std::less<>> DrainValues(const UniqueFd& pipe) {
  std::string bytes;
  std::array<char, 4096> piece;
  while (pipe.valid()) {
    const ssize_t count = read(pipe.get(), piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    bytes.append(piece.data(), static_cast<size_t>(count));
  }
  std::map<std::string, std::string, std::less<>> values;
  for (size_t at = 0; at < bytes.size();) {
    const std::string name(bytes.c_str() + at);
    at += name.size() + 1;
    if (at > bytes.size()) break;
    const std::string value(bytes.c_str() + at);
    at += value.size() + 1;
    values.emplace(name, value);
  }
  secrets::WipeBytes(bytes.data(), bytes.size());
  secrets::WipeBytes(piece.data(), piece.size());
  return values;
}

}  // namespace

Sources Sources::Open(const std::vector<SecretSpec>& specs, UniqueFd values) {
  Sources sources;
  sources.values_ = DrainValues(values);
  for (const auto& spec : specs) {
    Source source{.kind = spec.source.kind, .argument = spec.source.argument, .file = {}, .problem = {}};
    if (source.kind == SecretSource::Kind::kFile) {
      source.file = UniqueFd(open(source.argument.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
      struct stat info = {};
      if (!source.file.valid()) {
        source.problem = "file " + source.argument + ": " + std::strerror(errno);
      } else if (fstat(source.file.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
        source.problem = "file " + source.argument + ": not a regular file";
      }
    }
    sources.sources_.insert_or_assign(spec.name, std::move(source));
  }
  return sources;
}

Result<std::string> Sources::Read(std::string_view name) const {
  const auto found = sources_.find(name);
  if (found == sources_.end()) return Fail(Code::kNotFound, "no such secret");
  const Source& source = found->second;
  if (!source.problem.empty()) return Fail(Code::kNotFound, source.problem);
  if (source.kind == SecretSource::Kind::kEnv) {
    const auto value = values_.find(source.argument);
    if (value == values_.end()) {
      return Fail(Code::kNotFound, "variable " + source.argument + " is not set");
    }
    return value->second;
  }
  std::string bytes(kMaxValue + 1, '\0');
  const ssize_t count = pread(source.file.get(), bytes.data(), bytes.size(), 0);
  if (count < 0) return Fail(Code::kNotFound, "file " + source.argument + ": " + std::strerror(errno));
  if (static_cast<size_t>(count) > kMaxValue) {
    return Fail(Code::kLimit, "file " + source.argument + " is larger than 64 KiB");
  }
  bytes.resize(static_cast<size_t>(count));
  if (bytes.ends_with('\n')) bytes.pop_back();
  if (bytes.ends_with('\r')) bytes.pop_back();
  if (bytes.empty()) return Fail(Code::kNotFound, "file " + source.argument + " is empty");
  return bytes;
}

}  // namespace sallyport::runtime
