#include "policy/diagnostics.h"

#include <algorithm>
#include <numeric>

namespace sallyport::policy {
namespace {

// A file with more mistakes than this is not a policy, and each message costs memory.
constexpr size_t kMaxDiagnostics = 200;
constexpr size_t kMaxWord = 64;

char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// How many letters must be added, dropped, replaced or swapped with their neighbour.
size_t Distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before_last(b.size() + 1);
  std::vector<size_t> last(b.size() + 1);
  std::vector<size_t> current(b.size() + 1);
  std::iota(last.begin(), last.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    current[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const bool same = Lower(a[i - 1]) == Lower(b[j - 1]);
      current[j] = std::min({last[j] + 1, current[j - 1] + 1, last[j - 1] + (same ? 0u : 1u)});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) current[j] = std::min(current[j], before_last[j - 2] + 1);
    }
    before_last.swap(last);
    last.swap(current);
  }
  return last[b.size()];
}

}  // namespace

void Diagnostics::Error(int line, std::string message) {
  ++errors_;
  Add(Diagnostic::Severity::kError, line, std::move(message));
}

void Diagnostics::Warning(int line, std::string message) {
  Add(Diagnostic::Severity::kWarning, line, std::move(message));
}

int Diagnostics::LineOf(int call_line, std::span<const std::string> path) {
  if (path.empty() || found_.size() >= kMaxDiagnostics) return call_line;
  return fields_.Find(call_line, path);
}

void Diagnostics::Add(Diagnostic::Severity severity, int line, std::string message) {
  if (found_.size() < kMaxDiagnostics - 1)
    return found_.push_back({severity, file_, line, std::move(message)});
  // The last one counts those that are left out.
  if (found_.size() < kMaxDiagnostics) found_.push_back({severity, file_, 0, "0"});
  found_.back().message = std::to_string(std::stoul(found_.back().message) + 1);
}

std::vector<Diagnostic> Diagnostics::Take() {
  if (found_.size() == kMaxDiagnostics) {
    found_.back().message += " more are not shown";
    if (has_errors()) found_.back().severity = Diagnostic::Severity::kError;
  }
  std::stable_sort(found_.begin(), found_.end(),
                   [](const Diagnostic& a, const Diagnostic& b) { return a.line < b.line; });
  return std::move(found_);
}

std::string_view Nearest(std::string_view word, const std::vector<std::string_view>& words) {
  if (word.empty() || word.size() > kMaxWord) return {};
  std::string_view nearest;
  // One mistake in a short word, a third of a long one.
  size_t least = std::max<size_t>(1, word.size() / 3) + 1;
  for (const std::string_view candidate : words) {
    const size_t distance = Distance(word, candidate);
    if (distance >= least || distance >= candidate.size()) continue;
    least = distance;
    nearest = candidate;
  }
  return nearest;
}

std::string DidYouMean(std::string_view word, const std::vector<std::string_view>& words) {
  const std::string_view nearest = Nearest(word, words);
  if (nearest.empty()) return {};
  return "; did you mean '" + std::string(nearest) + "'?";
}

std::string Printable(std::string_view text, size_t limit) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string printable;
  for (const char c : text.substr(0, limit)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      printable += c;
    } else {
      printable.append("\\x").append(1, kHex[byte >> 4]).append(1, kHex[byte & 15]);
    }
  }
  if (text.size() > limit) printable += "...";
  return printable;
}

std::string Diagnostic::ToString() const {
  std::string text = file;
  if (line > 0) text.append(":").append(std::to_string(line));
  text += severity == Severity::kError ? ": error: " : ": warning: ";
  return text + message;
}

}  // namespace sallyport::policy
