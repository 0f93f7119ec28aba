#pragma once

#include <sys/types.h>

#include <array>
#include <string>
#include <vector>

#include "base/unique_fd.h"

namespace sallyport::runtime {

/// A pipe, closed at an exec: what is read from, what is written to. Neither is valid without one.
std::array<UniqueFd, 2> MakePipe();

/// TEXTS as an exec takes them.
std::vector<char*> Pointers(std::vector<std::string>& texts);

/// What a program of the user's is started with: all made before, as its child shares our memory
/// until its exec.
struct ChildProgram {
  char* const* argv;
  char* const* envp;
  const char* folder;
  int in = -1;  ///< Its standard input; /dev/null for -1.
  int out = -1;
  int complaints = -1;  ///< Its standard error. That it could not be started is told there, too.
};

/// Starts PROGRAM, in a process group of its own that dies with this process; -1 and errno if there
/// is none. Until its exec it is this process in all but its descriptors and its id, and we stand
/// still: the environment lies in memory that no other kind of child sees.
pid_t Launch(const ChildProgram& program);

/// TEXT's first line, printable and short.
std::string FirstLine(const std::string& text);
/// The most that FirstLine() gives.
constexpr size_t kMaxComplaint = 300;

}  // namespace sallyport::runtime
