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
};

// Where the distributions' tools look for additions when they write the bundles anew.
constexpr const char* kAdditions[] = {"/usr/local/share/ca-certificates",
                                      "/etc/pki/ca-trust/source/anchors"};

constexpr size_t kMaxCertificate = size_t{64} * 1024;
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

/// The first of the image's bundles, all of which have the CA now; null if it has none.
Result<const char*> AddToBundles(const std::string& pem) {
  const char* first = nullptr;
  for (const char* path : kBundles) {
    Status added = AppendOnce(path, pem);
    if (!added && added.error().code() == Code::kNotFound) continue;
    if (!added) return tl::unexpected(std::move(added).error());
    if (first == nullptr) first = path;
  }
  return first;
}

Status AddToHashedDirectory(const std::string& hash, const std::string& pem) {
  if (Status made = MakeDirectories(kHashedDirectory); !made) return made;
  for (int number = 0; number < kMaxSameHash; ++number) {
    const std::string path =
        std::string(kHashedDirectory) + "/" + hash + "." + std::to_string(number);
    Status created = CreateFile(path.c_str(), pem);
    if (created || created.error().code() != Code::kDenied) return created;
    const auto present = ReadSmallFile(path.c_str(), kMaxCertificate);
    if (present && *present == pem) return {};
  }
  return Fail(Code::kLimit, "no free name for the CA in the hashed directory");
}

Status Replace(const char* path, std::string_view content) {
  unlink(path);
  return CreateFile(path, content);
}

Status WriteOwnFiles(const std::string& pem, const char* bundle) {
  if (Status made = MakeDirectories("/run/sallyport"); !made) return made;
  if (Status written = Replace(kCaFile, pem); !written) return written;
  unlink(kCaBundle);
  if (symlink(bundle != nullptr ? bundle : kCaFile, kCaBundle) != 0) {
    return tl::unexpected(Error::FromErrno(kCaBundle));
  }
  return {};
}

}  // namespace

Status InstallTrust(const Trust& trust) {
  if (Status checked = CheckTrust(trust); !checked) return checked;
  const std::string pem = WithNewline(trust.ca_pem);
  const auto bundle = AddToBundles(pem);
  if (!bundle) return tl::unexpected(bundle.error());
  if (Status added = AddToHashedDirectory(trust.subject_hash, pem); !added) return added;
  return WriteOwnFiles(pem, *bundle);
}

void KeepTrustOnUpdates(const std::string& ca_pem) {
  for (const char* directory : kAdditions) {
    if (access(directory, F_OK) != 0) continue;
    const std::string path = std::string(directory) + "/sallyport.crt";
    static_cast<void>(Replace(path.c_str(), WithNewline(ca_pem)).has_value());
  }
}

}  // namespace sallyport::guest
