#pragma once

#include <string>
#include <utility>

#include "secrets/secret.h"

namespace sallyport::runtime {

/// Text that is a secret, or may hold one: overwritten when it goes, and not copied by accident.
/// Whoever lets `text` grow leaves a copy behind: reserve first.
struct Wiped {
  Wiped() = default;
  explicit Wiped(std::string secret) : text(std::move(secret)) { secrets::WipeString(secret); }
  Wiped(Wiped&& other) noexcept : text(std::move(other.text)) { secrets::WipeString(other.text); }
  Wiped& operator=(Wiped&& other) noexcept {
    if (this == &other) return *this;
    secrets::WipeString(text);
    text = std::move(other.text);
    secrets::WipeString(other.text);
    return *this;
  }
  ~Wiped() { secrets::WipeString(text); }

  std::string text;
};

}  // namespace sallyport::runtime
