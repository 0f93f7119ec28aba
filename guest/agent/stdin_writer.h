#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/loop.h"
#include "base/unique_fd.h"

namespace sallyport::guest {

/// Hands bytes to a program that takes them at its own speed. Bytes for a program that closed its
/// stdin vanish, as if taken.
class StdinWriter {
 public:
  enum class Kind { kPipe, kTerminal };

  /// ON_TAKEN is called with the number of bytes that have left, also from within Write().
  StdinWriter(Loop& loop, UniqueFd fd, Kind kind, std::function<void(size_t)> on_taken);
  StdinWriter(const StdinWriter&) = delete;
  StdinWriter& operator=(const StdinWriter&) = delete;

  /// The caller bounds the bytes that are not yet taken.
  void Write(std::string_view bytes);

  /// Closes the program's stdin behind the last byte; on a terminal, types its end-of-file
  /// character.
  void End();

 private:
  void OnReady(uint32_t events);
  void WriteSome();
  void UpdateWatch();
  void Discard();
  std::string EndCharacters() const;

  Loop& loop_;
  UniqueFd fd_;
  Kind kind_;
  std::function<void(size_t)> on_taken_;
  std::string waiting_;
  bool end_ = false;
  char last_ = '\n';
  Loop::Handle watch_;
};

}  // namespace sallyport::guest
