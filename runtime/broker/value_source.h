#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/loop.h"
#include "base/pending.h"
#include "base/result.h"
#include "base/secret_source.h"
#include "runtime/broker/errands.h"
#include "runtime/broker/http_client.h"
#include "runtime/broker/sources.h"
#include "runtime/broker/wiped.h"

namespace sallyport::runtime {

/// A secret's value, and how long it is good.
struct Value {
  Wiped bytes;
  std::optional<std::chrono::milliseconds> lifetime;  ///< None: nothing says that it ends.
};

/// Where one secret's value comes from, whatever it takes to get it.
class ValueSource {
 public:
  virtual ~ValueSource() = default;

  /// Gets a value, a new one where the source can give one. One Fetch() at a time, and
  /// none while the Pending of the one before lives. Every Fetch() ends
  /// within a minute and a half. Errors say for people what is missing or was refused, without a
  /// secret.
  virtual Pending Fetch(std::function<void(Result<Value>)> done) = 0;
};

/// What sources work with. All outlive them. ERRANDS and HTTP may be null where no source needs
/// them.
struct SourceTools {
  Loop& loop;
  const Sources& local;
  Errands* errands = nullptr;
  HttpClient* http = nullptr;
};

/// NAME is the secret's, for what is said on stderr.
std::unique_ptr<ValueSource> MakeValueSource(const std::string& name, const SecretSource& source,
                                             const SourceTools& tools);

/// What SOURCES ask of Errands; nothing in it when there is no need for any.
Errands::Declared ErrandsOf(const std::vector<SecretSource>& sources);

}  // namespace sallyport::runtime
