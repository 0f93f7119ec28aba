#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/host_name.h"
#include "base/path_glob.h"
#include "base/result.h"
#include "base/secret_spec.h"
#include "secrets/secret.h"

namespace sallyport::secrets {

/// One declared secret. Its place in Entries is its placeholder's id in the index.
struct Entry {
  SecretSpec spec;
  std::vector<PathGlob> paths;
  std::optional<Secret> value;  ///< None: `unavailable` says why.
  std::string unavailable;
};

/// A deque: what is shown of an entry stays where it is when more are added.
using Entries = std::deque<Entry>;

/// Whether SPEC can hold, alone and beside ENTRIES; kInvalid says what to write instead.
Status CheckSpec(const SecretSpec& spec, const Entries& entries);

/// Whether VALUE can be sent in a header and, where SPEC has it scrubbed, told apart in a text. The
/// message does not show it.
Status CheckValue(std::string_view value, const SecretSpec& spec);

/// Whether VALUE can stand in the places of SPEC. The message does not show it.
Status CheckValueFits(const SecretSpec& spec, std::string_view value);

/// SPEC with its parts compiled and without a value. kInvalid for a bad path glob.
Result<Entry> MakeEntry(SecretSpec spec);

/// Whether ENTRY's hosts have HOST among them. A wildcard ends where a public suffix begins below
/// it: "*.amazonaws.com" is not "bucket.s3.amazonaws.com", which is anybody's.
bool MayReceive(const Entry& entry, const HostName& host);

/// Whether ENTRY may be used on paths like PATH, both as spelled and as servers may take it.
bool PathAllowed(const Entry& entry, std::string_view path);

/// Whether fields NAME are a place for ENTRY's placeholder.
bool HeaderAllowed(const Entry& entry, std::string_view name);

/// Whether fields NAME carry credentials as far as ENTRY is concerned: by what is generally known,
/// by its list of places, or by what it injects; in any spelling that a server may take for it.
bool IsCredentialHeaderOf(const Entry& entry, std::string_view name);

/// "api.example.com, *.example.org": who may receive ENTRY.
std::string HostsOf(const Entry& entry);

/// "A, B and 3 more", with at most eight of ITEMS; for messages.
std::string Enumerated(const std::vector<std::string>& items);

}  // namespace sallyport::secrets
