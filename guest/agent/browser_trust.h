#pragma once

#include <string>

namespace sallyport::guest {

/// Where Firefox reads what an administrator has set.
constexpr const char* kFirefoxPolicies = "/etc/firefox/policies/policies.json";

/// Whether programs are there that read NSS's database in a home: its library is.
bool HasNss();

/// Makes Chromium, what is built on it, and NSS's own tools trust the gate's CA, if their HOME is
/// this: it gets an NSS database that has the CA and nothing else. A database that is there stays
/// as it is, and so does a home that is not in the sandbox's own root: it would outlive the
/// sandbox. Nothing here is worth failing a program for. Where all is done this costs one lookup.
void InstallNssTrust(const std::string& ca_pem, const std::string& home);

/// Makes every Firefox trust the gate's CA, unless the image has policies for one: then they stay
/// as they are.
void InstallFirefoxTrust();

}  // namespace sallyport::guest
