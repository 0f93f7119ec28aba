#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "runtime/backend/backend.h"
#include "runtime/backend/namespaces/root_fs.h"

namespace sallyport::runtime {

/// Fills the sandbox's /etc and /var: what programs need of the host's settings, by a list of names
/// (settings.cc), and our own files for accounts. Nothing that is not on
/// the list is ever visible. Files are copied, so the guest's root may change them; folders are
/// shown read-only.
Status AddSettings(RootFs& root);

/// The host's CA certificates, at the same places, writable: the agent adds the gate's CA to them.
/// May run beside AddSettings(), in another thread.
Status AddTrust(RootFs& root);

/// Our own files for what the sandbox is called and for its resolver, in the same /etc.
Status AddNames(const RootFs& root, const std::string& hostname, bool network);

/// The host's accounts as the sandbox has them: those of programs and root, with nothing about
/// people (ids from 1000 on, except nobody), no password field and no member lists.
std::string GuestPasswd(std::string_view host);
std::string GuestGroup(std::string_view host);

/// Where distributions keep the bundle of CA certificates, and Java's.
constexpr const char* kTrustBundles[] = {
    "/etc/ssl/certs/ca-certificates.crt",                 // Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",                   // Fedora
    "/etc/ssl/ca-bundle.pem",                             // openSUSE
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  // Fedora
    "/etc/ssl/certs/java/cacerts",                        // Debian, Alpine
    "/etc/pki/ca-trust/extracted/java/cacerts",           // Fedora
};

}  // namespace sallyport::runtime
