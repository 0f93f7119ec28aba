#pragma once

#include <string>
#include <vector>

namespace sallyport::cli {

/// Prints ROWS with their columns aligned; nothing where there are none.
void PrintTable(const std::vector<std::vector<std::string>>& rows);

}  // namespace sallyport::cli
