#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/host_name.h"
#include "base/ip_address.h"
#include "base/result.h"

namespace sallyport {

/// Destinations that are reached without the host's proxy.
class NoProxy {
 public:
  /// Adds what a policy writes: "api.corp.example", "*.corp.example" (any depth below), an address,
  /// "10.0.0.0/8", or "*" for everything; all but a CIDR and "*" also with ":port". kInvalid says
  /// what is wrong; kLimit beyond kMaxEntries.
  Status Add(std::string_view entry);

  /// Adds what NO_PROXY holds, as programs read it: entries between commas or spaces, where
  /// "corp.example" and ".corp.example" both mean that name and all below it. What is no entry is
  /// passed over.
  void AddVariable(std::string_view text);

  bool Matches(const Host& host, uint16_t port) const;

  static constexpr size_t kMaxEntries = 4096;  ///< Each is looked at for each connection.

 private:
  struct Entry {
    std::optional<HostPattern> name;  ///< One of the two.
    std::optional<Prefix> prefix;
    uint16_t port = 0;  ///< 0: all.
  };
  static Result<Entry> Read(std::string_view text);
  void Keep(Entry entry);

  bool all_ = false;
  std::vector<Entry> entries_;
};

}  // namespace sallyport
