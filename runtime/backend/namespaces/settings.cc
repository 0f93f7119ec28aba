#include "runtime/backend/namespaces/settings.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>
#include <string>
#include <vector>

#include "runtime/backend/namespaces/files.h"

namespace sallyport::runtime {
namespace {

// What is shown of /etc: things that tell programs where and how, never who or with what password.
// Left out on purpose, among all the rest: shadow and gshadow, ssh, sudoers, krb5.keytab,
// machine-id, ssl/private and pki/tls/private, NetworkManager and wireguard; and files in which
// users put credentials: npmrc, pip.conf, gitconfig, netrc, docker, apt, maven, environment.
constexpr const char* kShown[] = {
    // What the dynamic linker, libc and shells read.
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ld-musl-x86_64.path", "ld-musl-aarch64.path",
    "localtime", "timezone", "gai.conf", "host.conf", "protocols", "services", "shells", "profile",
    "profile.d", "bash.bashrc", "bashrc", "inputrc", "login.defs", "locale.alias", "locale.conf",
    // What the distribution is.
    "os-release", "debian_version", "alpine-release", "fedora-release", "redhat-release",
    "system-release", "arch-release", "lsb-release",
    // Trust and crypto settings; the certificates themselves are AddTrust()'s.
    "ca-certificates", "ca-certificates.conf", "crypto-policies", "ssl/openssl.cnf", "ssl/cert.pem",
    "pki/tls/openssl.cnf", "pki/tls/cert.pem", "pki/java/cacerts",
    // Which of several programs a name means, and the settings of languages and common tools.
    "alternatives", "mime.types", "magic", "magic.mime", "xml", "fonts", "perl", "R", "texmf",
    "chromium.d"};
// The same, with a version behind the name.
constexpr const char* kShownFamilies[] = {"python3", "java", "ImageMagick-"};

// Far above any of the files on the list; a bundle of certificates is about 220 KiB.
constexpr size_t kMaxSettingsFile = 512 * 1024;
constexpr size_t kMaxTrustBundle = 8 * 1024 * 1024;
constexpr size_t kMaxAccounts = 1024 * 1024;

constexpr unsigned kFirstPerson = 1000;  // By every distribution's login.defs.
constexpr unsigned kNobody = 65534;

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

/// Whether the account or group with the id TEXT belongs into a sandbox.
bool IsSystemId(std::string_view text) {
  unsigned id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size()) return false;
  return id < kFirstPerson || id == kNobody;
}

Status MakeOwn(const RootFs& root, const char* name, std::string_view text) {
  return CreateFile(root.root(), std::string("etc/") + name, text);
}

class Settings {
 public:
  explicit Settings(RootFs& root) : root_(root) {}

  Status Add() {
    using Step = Status (Settings::*)();
    for (const Step step : {&Settings::AddListed, &Settings::AddFamilies, &Settings::AddAccounts,
                            &Settings::AddVar}) {
      auto done = (this->*step)();
      if (!done) return done;
    }
    return {};
  }

 private:
  Status AddListed();
  Status AddFamilies();
  Status AddAccounts();
  Status AddVar();
  Status Show(const std::string& name);
  Status ShowLink(const std::string& name);
  Status Own(const char* name, std::string_view text) { return MakeOwn(root_, name, text); }
  std::string ReadHost(const char* path);

  RootFs& root_;
};

/// Shows NAME of the host's /etc as what it is. What this user can't read is not there.
Status Settings::Show(const std::string& name) {
  const std::string path = "etc/" + name;
  // O_NONBLOCK: nothing waits for the other end of a FIFO, which is not shown.
  const UniqueFd entry = OpenPlain(root_.host(), path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  const bool link = !entry.valid() && errno == ELOOP;
  if (!entry.valid() && !link) return {};
  const size_t slash = path.rfind('/');
  if (slash != 3) {
    auto made = MakeDirectories(root_.root(), path.substr(0, slash));
    if (!made) return made;
  }
  if (link) return ShowLink(path);
  struct stat info;
  if (fstat(entry.get(), &info) != 0) return tl::unexpected(Error::FromErrno("/" + path));
  if (S_ISREG(info.st_mode)) return CopyToFile(entry.get(), root_.root(), path, kMaxSettingsFile);
  if (S_ISDIR(info.st_mode)) return root_.AddReadOnly(entry, "/" + path);
  return {};
}

Status Settings::ShowLink(const std::string& path) {
  char target[4096];
  const ssize_t size = readlinkat(root_.host(), path.c_str(), target, sizeof target - 1);
  if (size < 0) return {};
  target[size] = '\0';
  if (symlinkat(target, root_.root(), path.c_str()) != 0) {
    return tl::unexpected(Error::FromErrno("/" + path));
  }
  return {};
}

Status Settings::AddListed() {
  for (const char* name : kShown) {
    auto shown = Show(name);
    if (!shown) return shown;
  }
  return {};
}

Status Settings::AddFamilies() {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir("/oldroot/etc"), &closedir);
  if (directory == nullptr) return {};
  while (const dirent* entry = readdir(directory.get())) {
    const std::string name = entry->d_name;
    const bool shown = std::any_of(std::begin(kShownFamilies), std::end(kShownFamilies),
                                   [&](const char* family) { return name.starts_with(family); });
    if (!shown) continue;
    auto done = Show(name);
    if (!done) return done;
  }
  return {};
}

std::string Settings::ReadHost(const char* path) {
  const UniqueFd file = OpenInRoot(root_.host(), path, O_RDONLY);
  if (!file.valid()) return "";
  return ReadAll(file.get(), kMaxAccounts).value_or("");
}

Status Settings::AddAccounts() {
  auto done = Own("passwd", GuestPasswd(ReadHost("etc/passwd")));
  if (done) done = Own("group", GuestGroup(ReadHost("etc/group")));
  // Files and DNS only: the host's may name services (sss, ldap, resolved) that are not inside.
  if (done) {
    done = Own("nsswitch.conf",
               "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n"
               "protocols: files\nservices: files\nethers: files\nrpc: files\n");
  }
  if (done && symlinkat("../proc/self/mounts", root_.root(), "etc/mtab") != 0) {
    return tl::unexpected(Error::FromErrno("/etc/mtab"));
  }
  return done;
}

Status Settings::AddVar() {
  // What is installed, for tools that ask; and openSUSE's certificates, which /etc links to.
  for (const char* directory : {"/var/lib/dpkg", "/var/lib/rpm", "/var/lib/ca-certificates"}) {
    auto shown = root_.AddReadOnly(directory, directory);
    if (!shown) return shown;
  }
  return {};
}

Status AddTrustDirectory(RootFs& root, const std::string& directory) {
  // The overlay is over what the name leads to; openSUSE's is a link into /var.
  const UniqueFd real = OpenInRoot(root.host(), directory, O_PATH | O_DIRECTORY);
  if (!real.valid()) return {};
  char path[4096];
  const std::string link = "/oldroot/proc/self/fd/" + std::to_string(real.get());
  const ssize_t size = readlink(link.c_str(), path, sizeof path - 1);
  if (size < 0) return tl::unexpected(Error::FromErrno(directory));
  return root.AddOverlay(std::string(path, static_cast<size_t>(size)), directory);
}

/// A copy that the guest's root may change, in the overlay's upper layer where there is an overlay.
Status AddTrustBundle(RootFs& root, const std::string& bundle) {
  const UniqueFd file = OpenInRoot(root.host(), bundle, O_RDONLY);
  if (!file.valid()) return {};
  const std::string directory = bundle.substr(0, bundle.rfind('/'));
  auto upper = root.Upper(directory);
  auto made = MakeDirectories(AT_FDCWD, "/new" + directory);
  if (!upper) return tl::unexpected(std::move(upper).error());
  if (!made) return made;
  const bool overlaid = !directory.ends_with("/ssl");
  const std::string place = overlaid ? *upper : "/new" + directory;
  return CopyToFile(file.get(), AT_FDCWD, place + bundle.substr(bundle.rfind('/')),
                    kMaxTrustBundle);
}

}  // namespace

std::string GuestPasswd(std::string_view host) {
  std::string guest;
  bool has_root = false;
  for (std::string_view line : Split(host, '\n')) {
    const auto fields = Split(line, ':');
    if (fields.size() != 7 || fields[0].empty() || !IsSystemId(fields[2])) continue;
    has_root = has_root || fields[2] == "0";
    guest.append(fields[0]).append(":x:").append(fields[2]).append(":").append(fields[3]);
    guest.append("::").append(fields[5]).append(":").append(fields[6]).append("\n");
  }
  if (!has_root) guest.insert(0, "root:x:0:0::/root:/bin/sh\n");
  return guest;
}

std::string GuestGroup(std::string_view host) {
  std::string guest;
  bool has_root = false;
  for (std::string_view line : Split(host, '\n')) {
    const auto fields = Split(line, ':');
    if (fields.size() != 4 || fields[0].empty() || !IsSystemId(fields[2])) continue;
    has_root = has_root || fields[2] == "0";
    guest.append(fields[0]).append(":x:").append(fields[2]).append(":\n");
  }
  if (!has_root) guest.insert(0, "root:x:0:\n");
  return guest;
}

Status AddSettings(RootFs& root) {
  return Settings(root).Add();
}

Status AddTrust(RootFs& root) {
  for (const char* bundle : kTrustBundles) {
    auto added = AddTrustBundle(root, bundle);
    if (!added) return added;
  }
  for (const char* directory : {"/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/pki/ca-trust"}) {
    auto added = AddTrustDirectory(root, directory);
    if (!added) return added;
  }
  if (faccessat(root.root(), "etc/ssl/certs", F_OK, AT_SYMLINK_NOFOLLOW) == 0) return {};
  auto made = MakeDirectories(root.root(), "etc/ssl/certs");
  if (made) made = MakeOwn(root, "ssl/certs/ca-certificates.crt", "");
  return made;
}

Status AddNames(const RootFs& root, const std::string& hostname, bool network) {
  auto done = MakeOwn(root, "hostname", hostname + "\n");
  if (done) {
    done = MakeOwn(root, "hosts",
                   "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
                   "127.0.1.1 " +
                       hostname + "\n");
  }
  if (done) {
    done = MakeOwn(root, "resolv.conf",
                   network ? std::string("nameserver ") + GuestNetwork::kGatewayV4 + "\n" : "");
  }
  return done;
}

}  // namespace sallyport::runtime
