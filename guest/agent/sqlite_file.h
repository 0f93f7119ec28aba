#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace sallyport::guest {

/// The values of one row, each with the name of its column. They are bytes (SQLite's "blob"); a
/// column that is not named is NULL.
using SqliteRow = std::vector<std::pair<std::string, std::string>>;

/// A database file of SQLite 3 that has one table: TABLE, with an "id" that counts ROWS from 1, and
/// COLUMNS. All rows must fit on one page, and so must the statement that makes the table: kLimit
/// if they don't. A row's column that the table does not have is passed over.
Result<std::string> MakeSqliteFile(const std::string& table, std::span<const std::string> columns,
                                   std::span<const SqliteRow> rows);

}  // namespace sallyport::guest
