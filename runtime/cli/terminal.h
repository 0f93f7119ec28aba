#pragma once

#include <termios.h>

namespace sallyport::cli {

/// Puts the terminal on descriptor 0 into raw mode for as long as it lives, so that every key reaches
/// the program's own terminal. Does nothing when 0 is not a terminal.
class RawTerminal {
 public:
  RawTerminal();
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  bool active_ = false;
  termios saved_ = {};
};

}  // namespace sallyport::cli
