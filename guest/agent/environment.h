#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guest/protocol/messages.h"

namespace sallyport::guest {

/// A program's user, from the image's /etc/passwd.
struct Account {
  std::string name = "root";
  std::string home = "/";
  std::string shell = "/bin/sh";
};

/// The first entry for user id 0 in PASSWD, the content of a passwd file; hostile, so lines that
/// are not entries are passed over. The defaults where there is none.
Account FindRoot(std::string_view passwd);

/// Where the gate's CA is.
enum class GateCa {
  kNone,
  kInFiles,          ///< trust_store.h's, and each Java's own store.
  kAlsoInJavaStore,  ///< For a Java that has to be told, also in java_trust.h's kJavaStore.
};

/// A program's environment, "NAME=value" each: who it is and where programs are, the variables that
/// make each language's TLS trust the gate's CA, and over these EXEC's own, of which the
/// last of a name counts.
class Environment {
 public:
  Environment(const Exec& exec, const Account& account, GateCa ca);

  /// The value of NAME, empty if it has none.
  std::string_view Get(std::string_view name) const;
  const std::vector<std::string>& entries() const { return entries_; }

 private:
  std::vector<std::string> entries_;
};

}  // namespace sallyport::guest
