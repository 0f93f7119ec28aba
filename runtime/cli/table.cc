#include "runtime/cli/table.h"

#include <algorithm>
#include <cstdio>

namespace sallyport::cli {

std::vector<std::string> TableLines(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    if (widths.size() < row.size()) widths.resize(row.size());
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::vector<std::string> lines;
  for (const auto& row : rows) {
    std::string& line = lines.emplace_back();
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + 2, ' ');
    }
  }
  return lines;
}

void PrintTable(const std::vector<std::vector<std::string>>& rows) {
  for (const std::string& line : TableLines(rows)) std::printf("%s\n", line.c_str());
}

}  // namespace sallyport::cli
