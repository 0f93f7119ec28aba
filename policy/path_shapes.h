#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport::policy {

/// SEGMENT of a path as a glob has it: what only identifies one thing is `*`. That is a number, a
/// UUID, a version, a hash, a long mixture of letters and digits; a version within a name
/// ("tool-1.2.3.tgz" becomes "tool-*.tgz"); and what a glob can't spell. "" stays "".
std::string ShapeOfSegment(std::string_view segment);

/// The globs that a set of paths is written as: few, readable, and matching every path that was
/// added and its normalised form (base/path_glob.h). The order of adding makes no difference.
class PathShapes {
 public:
  /// More globs than this in a rule are read by nobody.
  static constexpr size_t kMaxGlobs = 12;
  /// More names than this beside each other are taken for data: they become `*` or `**`.
  static constexpr size_t kManyBeside = 4;
  /// Distinct segments that are kept of one host, some 150 bytes each; from then on it is any path.
  static constexpr size_t kMaxNodes = 2048;
  /// Deeper paths end in `**`.
  static constexpr size_t kMaxDepth = 32;

  /// PATH as a request spells it, without the query. WHOLE: it was not cut.
  enum class Length { kWhole, kCut };
  void Add(std::string_view path, Length length = Length::kWhole);
  void Add(const PathShapes& other);

  /// Sorted; empty: any path.
  std::vector<std::string> Globs() const;

 private:
  struct Node {
    std::map<std::string, Node, std::less<>> below;
    bool ends = false;  // A path ends here.
    bool all = false;   // All that lies here and below.
  };

  void AddForm(std::string_view path, Length length);
  Node& Below(Node& node, const std::string& name);
  void Merge(const Node& from, Node& into);
  static std::vector<std::string> Tails(const Node& node, size_t many);

  Node root_;
  size_t nodes_ = 0;
  bool any_ = false;
};

}  // namespace sallyport::policy
