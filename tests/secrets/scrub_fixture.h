#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <utility>
#include <vector>

#include "secrets/scrub_filter.h"
#include "tests/secrets/scrub_reference.h"

namespace sallyport::secrets {

using Set = std::shared_ptr<const ScrubSet>;
using Secrets = std::vector<NaiveSecret>;

/// What is looked for: values and what takes their places.
inline Set SetOf(const Secrets& secrets) {
  std::vector<ScrubSet::Item> items;
  for (const auto& [value, placeholder] : secrets) {
    auto made = ScrubValue::Create(value);
    REQUIRE(made);
    items.push_back({*std::move(made), placeholder});
  }
  Result<Set> set = ScrubSet::Compile(std::move(items));
  REQUIRE(set);
  return *std::move(set);
}

}  // namespace sallyport::secrets
