#include "policy/path_shapes.h"

#include <algorithm>
#include <utility>

#include "base/path_glob.h"

namespace sallyport::policy {
namespace {

// A hash cut to this length is what tools show of a commit.
constexpr size_t kShortHash = 7;
// Within a name, shorter numbers belong to the name: "utf-8", "x86_64", "build-1234".
constexpr size_t kLongNumber = 4;
// Mixtures of letters and digits from this length on are no words.
constexpr size_t kLongMixture = 20;
constexpr size_t kDigitsOfMixture = 2;

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}
bool IsHex(char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool IsLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool IsAlnum(char c) {
  return IsDigit(c) || IsLetter(c);
}

size_t Count(std::string_view text, bool (*is)(char)) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), is));
}

/// How many characters at the front of TEXT IS holds for.
size_t Front(std::string_view text, bool (*is)(char)) {
  size_t length = 0;
  while (length < text.size() && is(text[length])) ++length;
  return length;
}

/// What a glob can't spell, or would take for a wildcard; and what an audit log replaced.
bool IsUnspeakable(std::string_view segment) {
  const bool odd = std::any_of(segment.begin(), segment.end(), [](char c) {
    return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f || c == '?' || c == '#' || c == '*' ||
           c == ';' || c == '\\';
  });
  return odd || segment.find("\xEF\xBF\xBD") != segment.npos;
}

/// The length of a UUID at the front of TEXT, or 0.
size_t UuidAt(std::string_view text) {
  size_t at = 0;
  for (const size_t group : {8U, 4U, 4U, 4U, 12U}) {
    if (at > 0 && (at >= text.size() || text[at++] != '-')) return 0;
    if (Front(text.substr(std::min(at, text.size())), IsHex) != group) return 0;
    at += group;
  }
  return at < text.size() && IsAlnum(text[at]) ? 0 : at;
}

/// The length of a version ("1.2", "1.2.3") at the front of TEXT, or 0.
size_t VersionAt(std::string_view text) {
  size_t at = Front(text, IsDigit);
  const size_t first = at;
  while (at > 0 && at < text.size() && text[at] == '.') {
    const size_t more = Front(text.substr(at + 1), IsDigit);
    if (more == 0) break;
    at += 1 + more;
  }
  return at > first ? at : 0;
}

/// Whether WORD, letters and digits, only identifies something.
bool IsIdentifier(std::string_view word) {
  const size_t digits = Count(word, IsDigit);
  if (digits == word.size()) return digits >= kLongNumber;
  if (digits > 0 && word.size() >= kShortHash && Count(word, IsHex) == word.size()) return true;
  return word.size() >= kLongMixture && digits >= kDigitsOfMixture;
}

void AddStar(std::string& shape) {
  if (!shape.ends_with('*')) shape += '*';
}

std::string ShapeOfWords(std::string_view rest) {
  std::string shape;
  while (!rest.empty()) {
    const bool starts_word = shape.empty() || !IsAlnum(shape.back());
    size_t taken = starts_word ? UuidAt(rest) : 0;
    if (taken == 0 && IsDigit(rest.front())) taken = VersionAt(rest);
    if (taken == 0 && IsAlnum(rest.front())) {
      const size_t word = Front(rest, IsAlnum);
      if (starts_word && IsIdentifier(rest.substr(0, word))) {
        taken = word;
      } else {
        // Up to the first digit: a version may begin there ("python3.11").
        const size_t plain = std::max<size_t>(Front(rest.substr(0, word), IsLetter), 1);
        shape += rest.substr(0, plain);
        rest.remove_prefix(plain);
        continue;
      }
    }
    if (taken > 0) {
      AddStar(shape);
      rest.remove_prefix(taken);
    } else {
      shape += rest.front();
      rest.remove_prefix(1);
    }
  }
  return shape;
}

}  // namespace

std::string ShapeOfSegment(std::string_view segment) {
  if (segment.empty()) return "";
  // In a pattern they are an error; "%2e" is one, too.
  if (segment == "." || segment == ".." || !PathGlob::Parse("/" + std::string(segment))) return "*";
  if (IsUnspeakable(segment) || Count(segment, IsDigit) == segment.size()) return "*";
  // Base64 of the kind that URLs have.
  const bool joined = std::all_of(segment.begin(), segment.end(), [](char c) {
    return IsAlnum(c) || c == '-' || c == '_' || c == '=';
  });
  const bool upper =
      std::any_of(segment.begin(), segment.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
  const bool lower =
      std::any_of(segment.begin(), segment.end(), [](char c) { return c >= 'a' && c <= 'z'; });
  if (joined && upper && lower && segment.size() >= kLongMixture &&
      Count(segment, IsDigit) >= kDigitsOfMixture) {
    return "*";
  }
  return ShapeOfWords(segment);
}

void PathShapes::Add(std::string_view path, Length length) {
  if (any_) return;
  if (!path.starts_with('/')) {
    any_ = true;  // No glob matches it.
    return;
  }
  AddForm(path, length);
  // A path passes only if its other form passes, too.
  const auto normalized = NormalizePath(path);
  if (normalized && *normalized != path) AddForm(*normalized, length);
}

void PathShapes::AddForm(std::string_view path, Length length) {
  Node* node = &root_;
  size_t depth = 0;
  for (size_t begin = 1;; ++depth) {
    const size_t end = path.find('/', begin);
    if (depth == kMaxDepth || (end == path.npos && length == Length::kCut)) {
      node->all = true;
      break;
    }
    const std::string_view segment = path.substr(begin, end - begin);
    if (end != path.npos && segment.empty()) {
      node->all = true;  // No pattern has an empty segment within it.
      break;
    }
    node = &Below(*node, ShapeOfSegment(segment));
    if (end == path.npos) break;
    begin = end + 1;
  }
  node->ends = true;
  any_ = any_ || nodes_ > kMaxNodes;
}

PathShapes::Node& PathShapes::Below(Node& node, const std::string& name) {
  const auto [found, is_new] = node.below.try_emplace(name);
  if (is_new) ++nodes_;
  return found->second;
}

void PathShapes::Merge(const Node& from, Node& into) {
  into.all |= from.all;
  into.ends |= from.ends;
  for (const auto& [name, node] : from.below) Merge(node, Below(into, name));
}

void PathShapes::Add(const PathShapes& other) {
  Merge(other.root_, root_);
  any_ = any_ || other.any_ || nodes_ > kMaxNodes;
}

/// What follows the path of NODE in its globs, where at most MANY names stand beside each other.
std::vector<std::string> PathShapes::Tails(const Node& node, size_t many) {
  if (node.all) return {"/**"};
  std::map<std::string, std::vector<std::string>, std::less<>> below;
  for (const auto& [name, child] : node.below) below[name] = Tails(child, many);
  if (const auto star = below.find("*"); star != below.end()) {
    std::erase_if(below, [&star](const auto& entry) {
      const auto& tails = star->second;
      return entry.first != "*" &&
             std::includes(tails.begin(), tails.end(), entry.second.begin(), entry.second.end());
    });
  }
  std::vector<std::string> tails;
  // Where little may remain, a path that ends among those that go on counts as one of them.
  const bool crowded = many < kManyBeside && node.ends && below.size() + 1 > many;
  if (crowded && !below.empty()) return {"/**"};
  if (node.ends) tails.emplace_back();
  if (below.size() > many) {
    const auto& first = below.begin()->second;
    const bool alike = std::all_of(below.begin(), below.end(),
                                   [&first](const auto& entry) { return entry.second == first; });
    if (!alike) return {"/**"};
    for (const auto& tail : first) tails.push_back("/*" + tail);
  } else {
    for (const auto& [name, ends] : below) {
      for (const auto& tail : ends) tails.push_back("/" + name + tail);
    }
  }
  std::sort(tails.begin(), tails.end());
  return tails;
}

std::vector<std::string> PathShapes::Globs() const {
  if (any_ || root_.all) return {};
  std::vector<std::string> globs;
  for (size_t many = kManyBeside; many > 0; --many) {
    // The root holds what a whole service has; only more than a rule can say is taken together.
    globs.clear();
    for (const auto& [name, child] : root_.below) {
      for (const auto& tail : Tails(child, many)) globs.push_back("/" + name + tail);
    }
    if (globs.size() <= kMaxGlobs) break;
  }
  if (globs.size() > kMaxGlobs) {
    globs = Tails(root_, 1);
    if (globs == std::vector<std::string>{"/**"}) return {};
  }
  std::sort(globs.begin(), globs.end());
  return globs;
}

}  // namespace sallyport::policy
