#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "policy/engine.h"
#include "policy/field_lines.h"

namespace sallyport::policy {

/// Collects what is wrong with one policy file, so that a user sees all of it at once.
class Diagnostics {
 public:
  /// TEXT is what the file says, for the lines of fields; it outlives this.
  explicit Diagnostics(std::string file, std::string_view text = {})
      : file_(std::move(file)), fields_(text) {}

  void Error(int line, std::string message);
  void Warning(int line, std::string message);

  bool has_errors() const { return errors_ > 0; }
  size_t error_count() const { return errors_; }
  const std::string& file() const { return file_; }
  /// As FieldLines::Find. CALL_LINE also where there are mistakes enough.
  int LineOf(int call_line, std::span<const std::string> path);
  /// "policy.lua:12".
  std::string At(int line) const { return file_ + ":" + std::to_string(line); }

  /// Everything so far, by line.
  std::vector<Diagnostic> Take();

 private:
  void Add(Diagnostic::Severity severity, int line, std::string message);

  std::string file_;
  FieldLines fields_;
  std::vector<Diagnostic> found_;
  size_t errors_ = 0;
};

/// The word of WORDS that WORD most likely means; empty when none is near.
std::string_view Nearest(std::string_view word, const std::vector<std::string_view>& words);

/// "; did you mean 'host'?", or nothing.
std::string DidYouMean(std::string_view word, const std::vector<std::string_view>& words);

/// TEXT as it may stand in a message: control and non-ASCII bytes escaped, at most LIMIT bytes of
/// it.
std::string Printable(std::string_view text, size_t limit = 200);

}  // namespace sallyport::policy
