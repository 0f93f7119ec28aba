#include "guest/agent/browser_trust.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "guest/agent/files.h"
#include "guest/agent/nss_database.h"
#include "guest/agent/pem.h"
#include "guest/agent/trust_store.h"

namespace sallyport::guest {
namespace {

constexpr const char* kNssLibraries[] = {
#if defined(__x86_64__)
    "/usr/lib/x86_64-linux-gnu/libnss3.so",  // Debian
#elif defined(__aarch64__)
    "/usr/lib/aarch64-linux-gnu/libnss3.so",
#endif
    "/usr/lib64/libnss3.so",  // Red Hat, SUSE
    "/usr/lib/libnss3.so",    // Alpine, Arch
};

// Below a home: what Chromium and NSS's tools read, and where Chromium from version 146 on makes
// one. If both are there it reads the first, so the second must not be put in its shade.
constexpr std::string_view kDatabase = "/.pki/nssdb";
constexpr std::string_view kLaterDatabase = "/.local/share/pki/nssdb";

// A Firefox reads those of its own folder only where there are none in /etc.
constexpr const char* kOwnPolicies[] = {
    "/usr/lib/firefox/distribution/policies.json",
    "/usr/lib/firefox-esr/distribution/policies.json",
    "/usr/lib64/firefox/distribution/policies.json",
    "/opt/firefox/distribution/policies.json",
};

bool Exists(const std::string& path) {
  return access(path.c_str(), F_OK) == 0;
}

std::optional<uint64_t> MountOf(const std::string& path) {
  struct statx info;
  if (statx(AT_FDCWD, path.c_str(), 0, STATX_MNT_ID, &info) != 0) return std::nullopt;
  if ((info.stx_mask & STATX_MNT_ID) == 0) return std::nullopt;
  return info.stx_mnt_id;
}

/// Whether what is made at PATH, an absolute one, is in the root's own mount and goes with it.
bool InOwnRoot(std::string path) {
  while (!path.empty() && !Exists(path)) path.resize(path.rfind('/'));
  const auto mount = MountOf(path + "/");
  return mount && mount == MountOf("/");
}

/// Makes FOLDER complete or not at all.
void PlaceDatabase(const std::string& folder, const NssDatabase& database) {
  const std::string fresh = folder + ".sallyport";
  if (!MakeDirectories(fresh)) return;
  const std::string certificates = fresh + "/cert9.db";
  const std::string keys = fresh + "/key4.db";
  const bool placed = CreateFile(certificates.c_str(), database.certificates) &&
                      CreateFile(keys.c_str(), database.keys) &&
                      rename(fresh.c_str(), folder.c_str()) == 0;
  if (placed) return;
  unlink(certificates.c_str());
  unlink(keys.c_str());
  rmdir(fresh.c_str());
}

}  // namespace

bool HasNss() {
  return std::any_of(std::begin(kNssLibraries), std::end(kNssLibraries), Exists);
}

void InstallNssTrust(const std::string& ca_pem, const std::string& home) {
  if (!home.starts_with('/')) return;
  const std::string folder = home + std::string(kDatabase);
  if (Exists(folder) || Exists(home + std::string(kLaterDatabase)) || !InOwnRoot(folder)) return;
  const auto der = FirstCertificate(ca_pem);
  if (!der) return;
  if (const auto database = MakeNssDatabase(*der)) PlaceDatabase(folder, *database);
}

void InstallFirefoxTrust() {
  if (std::any_of(std::begin(kOwnPolicies), std::end(kOwnPolicies), Exists)) return;
  const std::string path = kFirefoxPolicies;
  if (!MakeDirectories(path.substr(0, path.rfind('/')))) return;
  const std::string policies =
      std::string(R"({"policies": {"Certificates": {"Install": [")") + kCaFile + R"("]}}})" + "\n";
  static_cast<void>(CreateFile(kFirefoxPolicies, policies).has_value());
}

}  // namespace sallyport::guest
