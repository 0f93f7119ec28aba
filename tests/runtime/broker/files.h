#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <string_view>

#include "base/unique_fd.h"
#include "tests/support/folder.h"

namespace sallyport::runtime {

/// A pipe that is complete: it holds BYTES and has no writer.
inline UniqueFd Pipe(std::string_view bytes) {
  std::array<int, 2> ends;
  REQUIRE(pipe2(ends.data(), O_CLOEXEC) == 0);
  const UniqueFd writer(ends[1]);
  REQUIRE(write(writer.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  return UniqueFd(ends[0]);
}

using testing::Folder;

}  // namespace sallyport::runtime
