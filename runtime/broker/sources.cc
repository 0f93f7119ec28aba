#include "runtime/broker/sources.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace sallyport::runtime {

namespace {

constexpr size_t kMaxValue = 64 * 1024;

}  // namespace

Sources Sources::Open(const std::vector<SecretSource>& sources, const Variables& variables) {
  Sources opened;
  const auto open_plain = [&](const PlainSource& plain) {
    if (const auto* env = std::get_if<EnvSource>(&plain)) {
      const auto value = variables.Find(env->variable);
      if (!value) return;
      opened.variables_.try_emplace(env->variable,
                                    secrets::Secret::Create(*value, secrets::Secret::Form::kFile));
      return;
    }
    const auto* source = std::get_if<FileSource>(&plain);
    if (source == nullptr) return;
    File file{.file = UniqueFd(open(source->path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)),
              .problem = {}};
    if (!file.file.valid()) file.problem = "file " + source->path + ": " + std::strerror(errno);
    opened.files_.insert_or_assign(source->path, std::move(file));
  };
  for (const auto& source : sources) VisitPlainSources(source, open_plain);
  return opened;
}

Result<Wiped> Sources::Read(const EnvSource& source) const {
  const auto value = variables_.find(source.variable);
  if (value == variables_.end())
    return Fail(Code::kNotFound, "variable " + source.variable + " is not set");
  if (!value->second) {
    return tl::unexpected(Error(value->second.error()).In("variable " + source.variable));
  }
  return Wiped(std::string(value->second->Reveal()));
}

Result<Wiped> Sources::Read(const FileSource& source) const {
  const auto found = files_.find(source.path);
  if (found == files_.end()) return Fail(Code::kNotFound, "no such source");
  if (!found->second.problem.empty()) return Fail(Code::kNotFound, found->second.problem);
  return ReadValue(found->second.file.get(), source.path);
}

Result<Wiped> ReadValue(int file, const std::string& path) {
  struct stat info = {};
  if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
    return Fail(Code::kNotFound, "file " + path + ": not a regular file");
  }
  Wiped bytes;
  bytes.text.resize(kMaxValue + 1);
  const ssize_t count = pread(file, bytes.text.data(), bytes.text.size(), 0);
  if (count < 0) return Fail(Code::kNotFound, "file " + path + ": " + std::strerror(errno));
  if (static_cast<size_t>(count) > kMaxValue) {
    return Fail(Code::kLimit, "file " + path + " is larger than 64 KiB");
  }
  bytes.text.resize(static_cast<size_t>(count));
  if (bytes.text.ends_with('\n')) bytes.text.pop_back();
  if (bytes.text.ends_with('\r')) bytes.text.pop_back();
  if (bytes.text.empty()) return Fail(Code::kNotFound, "file " + path + " is empty");
  return bytes;
}

}  // namespace sallyport::runtime
