#include "secrets/entry.h"

#include <algorithm>
#include <utility>

#include "base/http_message.h"
#include "secrets/credential_headers.h"
#include "secrets/encodings.h"
#include "secrets/rendering.h"

namespace sallyport::secrets {
namespace {

constexpr std::string_view kSlot = "{}";

bool IsName(std::string_view name) {
  const auto letter = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
  };
  const auto inner = [letter](char c) { return letter(c) || (c >= '0' && c <= '9'); };
  return !name.empty() && letter(name.front()) && std::all_of(name.begin(), name.end(), inner);
}

Status CheckHosts(const SecretSpec& spec) {
  if (spec.hosts.empty()) {
    return Fail(Code::kInvalid,
                "no hosts: say who may receive it, hosts = { \"api.example.com\" }");
  }
  for (const HostPattern& pattern : spec.hosts) {
    if (pattern.is_any() || !pattern.name()) {
      return Fail(Code::kInvalid, "hosts must be names: a secret never goes to any host");
    }
    if (pattern.is_wildcard() && IsPublicSuffix(*pattern.name())) {
      return Fail(Code::kInvalid,
                  "\"" + pattern.ToString() + "\" spans names of different owners; name the hosts");
    }
  }
  return {};
}

Status CheckHeaderName(const std::string& name) {
  if (!IsToken(name)) return Fail(Code::kInvalid, "\"" + name + "\" is not a header name");
  if (IsFramingHeader(name)) {
    return Fail(Code::kInvalid, "header \"" + name + "\" is written by the gate itself");
  }
  return {};
}

Status CheckTemplate(const std::string& name, const std::string& text) {
  const size_t slot = text.find(kSlot);
  if (slot == std::string::npos || text.find(kSlot, slot + 1) != std::string::npos) {
    return Fail(Code::kInvalid,
                "inject \"" + name + "\" must have one {} where the value goes, as \"Bearer {}\"");
  }
  if (!IsFieldValue(text)) {
    return Fail(Code::kInvalid, "inject \"" + name + "\" has a control character in it");
  }
  return {};
}

Status CheckHeaders(const SecretSpec& spec) {
  for (const std::string& name : spec.headers.value_or(std::vector<std::string>())) {
    if (Status header = CheckHeaderName(name); !header) return header;
  }
  for (size_t i = 0; i < spec.inject.size(); ++i) {
    const auto& [name, text] = spec.inject[i];
    if (Status header = CheckHeaderName(name); !header) return header;
    if (Status form = CheckTemplate(name, text); !form) return form;
    for (size_t j = 0; j < i; ++j) {
      if (IsSameField(spec.inject[j].first, name)) {
        return Fail(Code::kInvalid, "inject sets \"" + name + "\" twice");
      }
    }
  }
  return {};
}

Status CheckLimits(const SecretSpec& spec) {
  for (const std::string& method : spec.methods) {
    if (!IsToken(method)) return Fail(Code::kInvalid, "\"" + method + "\" is not a method");
  }
  if (std::find(spec.ports.begin(), spec.ports.end(), 0) != spec.ports.end()) {
    return Fail(Code::kInvalid, "0 is not a port");
  }
  return {};
}

/// In a path, a query or a form "%41" is an "A", so a '%' would be looked for in vain.
Status CheckPlaceholderForm(const SecretSpec& spec) {
  const bool escaped = spec.query || spec.path || spec.body == SecretSpec::Body::kForm;
  if (escaped && spec.placeholder && spec.placeholder->find('%') != std::string::npos) {
    return Fail(Code::kInvalid,
                "placeholder has a '%', which can't be found in a path, a query or a form");
  }
  return {};
}

/// Whether two lists, of which an empty one means everything, have something in common.
template <class T>
bool Overlap(const std::vector<T>& a, const std::vector<T>& b) {
  return a.empty() || b.empty() || std::any_of(a.begin(), a.end(), [&b](const T& item) {
           return std::find(b.begin(), b.end(), item) != b.end();
         });
}

bool HostsOverlap(const SecretSpec& a, const SecretSpec& b) {
  for (const HostPattern& x : a.hosts) {
    for (const HostPattern& y : b.hosts) {
      if (x.Covers(y) || y.Covers(x)) return true;  // Names and zones nest or are apart.
    }
  }
  return false;
}

/// Two secrets that would set the same field of one request. Paths are taken to overlap.
Status CheckInjectConflict(const SecretSpec& spec, const SecretSpec& other) {
  if (!HostsOverlap(spec, other) || !Overlap(spec.ports, other.ports) ||
      !Overlap(spec.methods, other.methods)) {
    return {};
  }
  for (const auto& mine : spec.inject) {
    for (const auto& theirs : other.inject) {
      if (!IsSameField(mine.first, theirs.first)) continue;
      return Fail(Code::kInvalid, "inject \"" + mine.first +
                                      "\" is already done for these hosts by " + other.name + " (" +
                                      other.declared_at + ")");
    }
  }
  return {};
}

}  // namespace

Status CheckSpec(const SecretSpec& spec, const Entries& entries) {
  if (!IsName(spec.name)) {
    return Fail(Code::kInvalid, "the name must be one of a variable: letters, digits and _");
  }
  for (const auto& check : {CheckHosts, CheckHeaders, CheckLimits, CheckPlaceholderForm}) {
    if (Status status = check(spec); !status) return status;
  }
  for (const Entry& other : entries) {
    if (other.spec.name == spec.name) {
      return Fail(Code::kInvalid, "already declared at " + other.spec.declared_at);
    }
    if (Status conflict = CheckInjectConflict(spec, other.spec); !conflict) return conflict;
  }
  return {};
}

Status CheckValue(std::string_view value, const SecretSpec& spec) {
  if (spec.scrub && value.size() < kShortestValue) {
    return Fail(Code::kInvalid,
                "the value is shorter than 8 bytes: it would be found in any text; scrub = false "
                "takes it, and lets answers show it");
  }
  if (!IsFieldValue(value) || value.find('\t') != std::string_view::npos) {
    return Fail(Code::kInvalid,
                "the value has a control character in it, which no header can carry");
  }
  if (value.front() == ' ' || value.back() == ' ') {
    return Fail(Code::kInvalid, "the value begins or ends with a space, which no header can carry");
  }
  return {};
}

Status CheckValueFits(const SecretSpec& spec, std::string_view value) {
  if (spec.body == SecretSpec::Body::kJson && !IsUtf8(value)) {
    return Fail(Code::kInvalid, "the value is not UTF-8, which body = \"json\" needs");
  }
  return {};
}

Result<Entry> MakeEntry(SecretSpec spec) {
  Entry entry;
  for (const std::string& pattern : spec.paths) {
    Result<PathGlob> glob = PathGlob::Parse(pattern);
    if (!glob) return tl::unexpected(std::move(glob).error().In("path \"" + pattern + "\""));
    entry.paths.push_back(*std::move(glob));
  }
  entry.spec = std::move(spec);
  return entry;
}

bool MayReceive(const Entry& entry, const HostName& host) {
  const auto matches = [&host](const HostPattern& pattern) {
    if (pattern.is_any() || !pattern.Matches(host)) return false;
    if (!pattern.is_wildcard()) return true;
    std::optional<HostName> above = host.Parent();
    for (; above && above->IsBelow(*pattern.name()); above = above->Parent()) {
      if (IsPublicSuffix(*above)) return false;
    }
    return true;
  };
  return std::any_of(entry.spec.hosts.begin(), entry.spec.hosts.end(), matches);
}

bool PathAllowed(const Entry& entry, std::string_view path) {
  if (entry.paths.empty()) return true;
  const auto allowed = [&entry](std::string_view form) {
    return std::any_of(entry.paths.begin(), entry.paths.end(),
                       [form](const PathGlob& glob) { return glob.Matches(form); });
  };
  const Result<std::string> normal = NormalizePath(path);
  return normal && allowed(path) && allowed(*normal);
}

bool HeaderAllowed(const Entry& entry, std::string_view name) {
  if (!entry.spec.headers) return IsCredentialHeader(name);
  return std::any_of(entry.spec.headers->begin(), entry.spec.headers->end(),
                     [name](const std::string& listed) { return EqualsIgnoreCase(listed, name); });
}

bool IsCredentialHeaderOf(const Entry& entry, std::string_view name) {
  const auto is_listed = [name](const std::string& listed) { return IsSameField(listed, name); };
  const auto is_injected = [name](const auto& inject) { return IsSameField(inject.first, name); };
  const auto& headers = entry.spec.headers;
  const auto& inject = entry.spec.inject;
  return IsCredentialHeader(name) ||
         (headers && std::any_of(headers->begin(), headers->end(), is_listed)) ||
         std::any_of(inject.begin(), inject.end(), is_injected);
}

std::string HostsOf(const Entry& entry) {
  std::vector<std::string> hosts;
  for (const HostPattern& pattern : entry.spec.hosts) hosts.push_back(pattern.ToString());
  return Enumerated(hosts);
}

std::string Enumerated(const std::vector<std::string>& items) {
  constexpr size_t kShown = 8;
  std::string text;
  for (size_t i = 0; i < items.size() && i < kShown; ++i) {
    if (i != 0) text += ", ";
    text += items[i];
  }
  if (items.size() > kShown) text += " and " + std::to_string(items.size() - kShown) + " more";
  return text;
}

}  // namespace sallyport::secrets
