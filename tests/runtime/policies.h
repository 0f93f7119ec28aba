#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <utility>

#include "policy/engine.h"

namespace sallyport::runtime {

/// The engine of a policy with TEXT, which must be right.
inline std::unique_ptr<policy::Engine> LoadPolicy(const char* text) {
  auto loaded = policy::Engine::Load({.text = text, .name = "policy.lua", .folder = "/"});
  for (const auto& diagnostic : loaded.diagnostics) UNSCOPED_INFO(diagnostic.ToString());
  REQUIRE(loaded.engine);
  return std::move(loaded.engine);
}

}  // namespace sallyport::runtime
