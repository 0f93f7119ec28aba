#include "guest/agent/sqlite_file.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace sallyport::guest {
namespace {

// The file (https://www.sqlite.org/fileformat2.html) is two pages, each a leaf of a tree: the first
// has the file's header and the schema, a table of one row that names ours and says how it is made;
// the second has our rows. A leaf is a header, where each of its cells is, free space, and the
// cells, from the end. A cell is the length of a record, the row's number, the record; a record is
// the length of its head, the type of each value, the values. Without an index there is no other
// tree: "INTEGER PRIMARY KEY" is the row's number itself.

constexpr size_t kPage = 4096;
// The rest of a longer record would stand on pages of its own.
constexpr size_t kMaxRecord = kPage - 35;
constexpr uint8_t kTableLeaf = 13;
constexpr uint8_t kRootOfTable = 2;

void PutNumber(std::string& out, uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(value >> (8 * i)));
}

/// Seven bits in each byte; all but the last have the eighth set.
void PutVarint(std::string& out, uint64_t value) {
  for (int shift = 56; shift > 0; shift -= 7) {
    if (value >> shift != 0) out.push_back(static_cast<char>(0x80 | (value >> shift & 0x7f)));
  }
  out.push_back(static_cast<char>(value & 0x7f));
}

class Record {
 public:
  void AddNull() { types_.push_back(0); }
  void AddByte(uint8_t value) { Add(1, std::string(1, static_cast<char>(value))); }
  void AddBlob(std::string_view bytes) { Add(12 + 2 * bytes.size(), bytes); }
  void AddText(std::string_view text) { Add(13 + 2 * text.size(), text); }

  std::string Finish() const {
    // The head's length counts itself, which takes a byte up to 127.
    const size_t own = types_.size() < 127 ? 1 : 2;
    std::string record;
    PutVarint(record, types_.size() + own);
    return record.append(types_).append(values_);
  }

 private:
  void Add(uint64_t type, std::string_view value) {
    PutVarint(types_, type);
    values_ += value;
  }
  std::string types_;
  std::string values_;
};

std::string FileHeader() {
  std::string header("SQLite format 3\0", 16);
  PutNumber(header, kPage, 2);
  header.append("\1\1\0\x40\x20\x20", 6);  // Journal of old pages; no space reserved; fractions.
  PutNumber(header, 1, 4);                 // Changes of the file,
  PutNumber(header, 2, 4);                 // its pages,
  header.append(8, '\0');                  // none of which is free.
  PutNumber(header, 1, 4);                 // Changes of the schema,
  PutNumber(header, 4, 4);                 // its format,
  header.append(8, '\0');
  PutNumber(header, 1, 4);  // its encoding, UTF-8.
  header.append(32, '\0');
  PutNumber(header, 1, 4);          // Changes when the version was written,
  PutNumber(header, 3'008'000, 4);  // the first that needs nothing newer.
  return header;
}

/// A page that starts with HEADER and has RECORDS as its rows.
Result<std::string> MakeLeaf(const std::string& header, std::span<const std::string> records) {
  std::string places;
  std::string cells;
  for (size_t i = 0; i < records.size(); ++i) {
    std::string cell;
    PutVarint(cell, records[i].size());
    PutVarint(cell, i + 1);
    cells.insert(0, cell.append(records[i]));
    if (records[i].size() > kMaxRecord || cells.size() > kPage) {
      return Fail(Code::kLimit, "a row too long for a page");
    }
    PutNumber(places, kPage - cells.size(), 2);
  }
  std::string page = header;
  page.push_back(kTableLeaf);
  PutNumber(page, 0, 2);  // No gaps between cells.
  PutNumber(page, records.size(), 2);
  PutNumber(page, kPage - cells.size(), 2);
  page.push_back('\0');
  page += places;
  if (page.size() + cells.size() > kPage) return Fail(Code::kLimit, "too many rows for a page");
  page.append(kPage - cells.size() - page.size(), '\0');
  return page + cells;
}

std::string SchemaRecord(const std::string& table, std::span<const std::string> columns) {
  std::string statement = "CREATE TABLE " + table + " (id INTEGER PRIMARY KEY";
  for (const std::string& column : columns) statement.append(", ").append(column);
  Record record;
  record.AddText("table");
  record.AddText(table);
  record.AddText(table);
  record.AddByte(kRootOfTable);
  record.AddText(statement + ")");
  return record.Finish();
}

std::string RowRecord(std::span<const std::string> columns, const SqliteRow& row) {
  Record record;
  record.AddNull();  // The id stands for the row's number.
  for (const std::string& column : columns) {
    const auto value = std::find_if(row.begin(), row.end(),
                                    [&column](const auto& entry) { return entry.first == column; });
    if (value == row.end()) {
      record.AddNull();
    } else {
      record.AddBlob(value->second);
    }
  }
  return record.Finish();
}

}  // namespace

Result<std::string> MakeSqliteFile(const std::string& table, std::span<const std::string> columns,
                                   std::span<const SqliteRow> rows) {
  const std::string schema = SchemaRecord(table, columns);
  auto file = MakeLeaf(FileHeader(), {&schema, 1});
  if (!file) return file;
  std::vector<std::string> records;
  for (const SqliteRow& row : rows) records.push_back(RowRecord(columns, row));
  const auto data = MakeLeaf("", records);
  if (!data) return data;
  file->append(*data);
  return file;
}

}  // namespace sallyport::guest
