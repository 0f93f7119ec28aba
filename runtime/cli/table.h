#pragma once

#include <string>
#include <vector>

namespace sallyport::cli {

/// ROWS with their columns aligned, a line each, without newlines.
std::vector<std::string> TableLines(const std::vector<std::vector<std::string>>& rows);

/// Prints ROWS with their columns aligned; nothing where there are none.
void PrintTable(const std::vector<std::vector<std::string>>& rows);

}  // namespace sallyport::cli
