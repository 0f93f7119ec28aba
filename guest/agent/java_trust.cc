#include "guest/agent/java_trust.h"

#include <dirent.h>
#include <sys/stat.h>

#include <memory>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "guest/agent/files.h"
#include "guest/agent/java_store.h"
#include "guest/agent/pem.h"

namespace sallyport::guest {
namespace {

// Each distribution's is one file to which those of the installed Javas lead.
constexpr const char* kStores[] = {
    "/etc/ssl/certs/java/cacerts",               // Debian, Alpine
    "/etc/pki/java/cacerts",                     // Red Hat
    "/etc/pki/ca-trust/extracted/java/cacerts",  // What Red Hat's leads to
    "/opt/java/openjdk/lib/security/cacerts",    // The images of Eclipse Temurin
    "/usr/java/latest/lib/security/cacerts",     // Oracle's packages
};
constexpr const char* kJavas = "/usr/lib/jvm";
// Beside one's own, below a Java's folder: since 9, and before.
constexpr const char* kInJava[] = {"/lib/security/cacerts", "/jre/lib/security/cacerts"};

// A store has about 170 KiB. The files are the image's, so both are bounded.
constexpr size_t kMaxStore = size_t{4} * 1024 * 1024;
constexpr size_t kMaxJavas = 64;

std::vector<std::string> Candidates() {
  std::vector<std::string> paths(std::begin(kStores), std::end(kStores));
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(kJavas), &closedir);
  if (directory == nullptr) return paths;
  for (size_t i = 0; i < kMaxJavas; ++i) {
    const dirent* entry = readdir(directory.get());
    if (entry == nullptr) break;
    if (entry->d_name[0] == '.') continue;
    for (const char* inside : kInJava) {
      paths.push_back(std::string(kJavas) + "/" + entry->d_name + inside);
    }
  }
  return paths;
}

/// Each store once, however many names lead to it.
std::vector<std::string> FindStores() {
  std::vector<std::string> stores;
  std::set<std::pair<dev_t, ino_t>> seen;
  for (std::string& path : Candidates()) {
    struct stat info;
    if (stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    if (seen.emplace(info.st_dev, info.st_ino).second) stores.push_back(std::move(path));
  }
  return stores;
}

Status Extend(const char* path, const std::string& der) {
  auto store = OpenToRead(path, kMaxStore);
  if (!store) return tl::unexpected(std::move(store).error());
  const auto read = [&](size_t offset, std::span<char> buffer) {
    return ReadAt(store->fd, offset, buffer);
  };
  const auto change = ExtendJavaStore(read, store->size, der);
  if (!change) return tl::unexpected(change.error());
  if (!*change) return {};
  return WriteParts(path, {{JavaStoreChange::kCountAt, (*change)->count},
                           {store->size - JavaStoreChange::kDigest, (*change)->end}});
}

Status MakeOwn(const char* bundle) {
  const auto pem = ReadSmallFile(bundle, kMaxStore);
  if (!pem) return tl::unexpected(pem.error());
  const auto store = MakeJavaStore(*pem);
  if (!store) return tl::unexpected(store.error());
  return CreateFile(kJavaStore, *store);
}

}  // namespace

JavaTrust InstallJavaTrust(const std::string& ca_pem, const char* bundle) {
  const std::vector<std::string> stores = FindStores();
  if (stores.empty()) return JavaTrust::kNothingToDo;
  const auto der = FirstCertificate(ca_pem);
  if (!der) return JavaTrust::kNothingToDo;
  bool all = true;
  for (const std::string& path : stores) {
    if (!Extend(path.c_str(), *der)) all = false;
  }
  if (all) return JavaTrust::kNothingToDo;
  return MakeOwn(bundle) ? JavaTrust::kNeedsVariable : JavaTrust::kNothingToDo;
}

}  // namespace sallyport::guest
