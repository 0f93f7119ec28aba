#include "guest/agent/trust_store.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>

#include "guest/agent/files.h"

namespace sallyport::guest {
namespace {

constexpr const char* kBundles[] = {
    "/etc/ssl/certs/ca-certificates.crt",                 // Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",                   // Red Hat
    "/etc/ssl/ca-bundle.pem",                             // SUSE
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  // What Red Hat's usually leads to
    "/etc/ssl/cert.pem",                                  // Alpine's LibreSSL, and some images
    "/etc/pki/tls/cert.pem",                              // Red Hat's OpenSSL
};

// Where the distributions' tools look for additions when they write the bundles anew.
constexpr const char* kAdditions[] = {"/usr/local/share/ca-certificates",
                                      "/etc/pki/ca-trust/source/anchors"};

constexpr size_t kMaxCertificate = size_t{64} * 1024;
constexpr size_t kMaxBundle = size_t{8} * 1024 * 1024;  // A distribution's has about 220 KiB.
constexpr int kMaxSameHash = 100;

Status CheckTrust(const Trust& trust) {
  if (trust.ca_pem.find("-----BEGIN CERTIFICATE-----") == std::string::npos) {
    return Fail(Code::kInvalid, "the CA is not in PEM form");
  }
  // It becomes a file name.
  const bool hash = trust.subject_hash.size() == 8 &&
                    trust.subject_hash.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!hash) return Fail(Code::kInvalid, "the CA's subject hash is not 8 hex digits");
  return {};
}

std::string WithNewline(std::string_view pem) {
  return std::string(pem) + (pem.ends_with('\n') ? "" : "\n");
}

/// The first of the image's bundles that has the CA now, and the first that can't be written; null
/// where there is none.
struct Bundles {
  const char* extended = nullptr;
  const char* read_only = nullptr;
};

Result<Bundles> AddToBundles(const std::string& pem) {
  Bundles bundles;
  for (const char* path : kBundles) {
    Status added = AppendOnce(path, pem);
    const Code code = added ? Code::kSystem : added.error().code();
    if (!added && code != Code::kNotFound && code != Code::kDenied) {
      return tl::unexpected(std::move(added).error());
    }
    if (added && bundles.extended == nullptr) bundles.extended = path;
    if (!added && code == Code::kDenied && bundles.read_only == nullptr) bundles.read_only = path;
  }
  return bundles;
}

/// A directory that can't be written is left as it is.
Status AddToHashedDirectory(const std::string& hash, const std::string& pem) {
  Status made = MakeDirectories(kHashedDirectory);
  if (!made && made.error().code() == Code::kDenied) return {};
  if (!made) return made;
  for (int number = 0; number < kMaxSameHash; ++number) {
    const std::string path =
        std::string(kHashedDirectory) + "/" + hash + "." + std::to_string(number);
    Status created = CreateFile(path.c_str(), pem);
    if (created || created.error().code() != Code::kDenied) return created;
    const auto present = ReadSmallFile(path.c_str(), kMaxCertificate);
    if (present && *present == pem) return {};
    if (!present && present.error().code() == Code::kNotFound) return {};
  }
  return Fail(Code::kLimit, "no free name for the CA in the hashed directory");
}

Status Replace(const char* path, std::string_view content) {
  unlink(path);
  return CreateFile(path, content);
}

/// A bundle of our own, with READ_ONLY's roots.
Status WriteMerged(const std::string& pem, const char* read_only) {
  auto roots = ReadSmallFile(read_only, kMaxBundle);
  if (!roots) return tl::unexpected(std::move(roots).error());
  return Replace(kCaBundle, WithNewline(*roots) + pem);
}

Status WriteOwnFiles(const std::string& pem, const Bundles& bundles) {
  if (Status made = MakeDirectories("/run/sallyport"); !made) return made;
  if (Status written = Replace(kCaFile, pem); !written) return written;
  if (bundles.extended == nullptr && bundles.read_only != nullptr) {
    return WriteMerged(pem, bundles.read_only);
  }
  unlink(kCaBundle);
  if (symlink(bundles.extended != nullptr ? bundles.extended : kCaFile, kCaBundle) != 0) {
    return tl::unexpected(Error::FromErrno(kCaBundle));
  }
  return {};
}

}  // namespace

Status InstallTrust(const Trust& trust) {
  if (Status checked = CheckTrust(trust); !checked) return checked;
  const std::string pem = WithNewline(trust.ca_pem);
  const auto bundles = AddToBundles(pem);
  if (!bundles) return tl::unexpected(bundles.error());
  if (Status added = AddToHashedDirectory(trust.subject_hash, pem); !added) return added;
  return WriteOwnFiles(pem, *bundles);
}

void KeepTrustOnUpdates(const std::string& ca_pem) {
  for (const char* directory : kAdditions) {
    if (access(directory, F_OK) != 0) continue;
    const std::string path = std::string(directory) + "/sallyport.crt";
    static_cast<void>(Replace(path.c_str(), WithNewline(ca_pem)).has_value());
  }
}

}  // namespace sallyport::guest
