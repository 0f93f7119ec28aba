#include "guest/agent/nss_database.h"

#include <catch2/catch.hpp>

#include "guest/agent/pem.h"
#include "guest/agent/sqlite_file.h"
#include "tests/guest/test_certificate.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"

namespace sallyport::guest {
namespace {

using namespace std::string_literals;
using testing::Folder, testing::Have, testing::Run;

/// What SQLite itself, in Python, says of the files: SCRIPT sees their folder as argument 1.
std::string Python(const Folder& folder, const std::string& script) {
  folder.Write("script.py",
               "import sqlite3, sys, pathlib\nfolder = pathlib.Path(sys.argv[1])\n" + script);
  return Run("/usr/bin/python3 -B " + folder.path + "/script.py " + folder.path);
}

const std::vector<std::string> kColumns = {"a1", "b2"};

TEST_CASE("SQLite finds a file whole and reads each row's values, and NULL for the others") {
  if (!Have("/usr/bin/python3")) return;
  const Folder folder;
  const std::vector<SqliteRow> rows = {
      {{"a1", "one"}}, {}, {{"b2", "\0\xff"s}, {"a1", ""}, {"no column", "x"}}};
  folder.Write("file.db", MakeSqliteFile("t", kColumns, rows).value());
  CHECK(Python(folder, R"py(
db = sqlite3.connect(folder / "file.db")
print(*db.execute("PRAGMA integrity_check").fetchone())
print(db.execute("SELECT id, a1, b2 FROM t ORDER BY id").fetchall())
)py") == "ok\n[(1, b'one', None), (2, None, None), (3, b'', b'\\x00\\xff')]\n");
}

TEST_CASE("SQLite reads values and rows of each length that fits") {
  if (!Have("/usr/bin/python3")) return;
  const Folder folder;
  size_t longest = 0;
  for (size_t size = 0; size < 5000; ++size) {
    const auto file =
        MakeSqliteFile("t", kColumns, std::vector<SqliteRow>{{{"b2", std::string(size, 'x')}}});
    if (!file) {
      CHECK(file.error().code() == Code::kLimit);
      break;
    }
    longest = size;
    // Where a length takes a byte more, and the longest ones.
    const bool boundary = (size >= 50 && size <= 64) || size > 4040;
    if (boundary) folder.Write(std::to_string(size) + ".db", *file);
  }
  CHECK(longest == 4056);
  CHECK(Python(folder, R"py(
for path in folder.glob("*.db"):
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",), path
    assert db.execute("SELECT b2 FROM t").fetchall() == [(b"x" * int(path.stem),)], path
)py")
            .empty());
}

TEST_CASE("SQLite reads tables of each number of columns that fits") {
  if (!Have("/usr/bin/python3")) return;
  const Folder folder;
  std::vector<std::string> columns;
  for (int number = 0;; ++number) {
    const auto file = MakeSqliteFile("t", columns, std::vector<SqliteRow>{{}});
    if (!file) {
      CHECK(file.error().code() == Code::kLimit);
      break;
    }
    // Where the head of the row takes a byte more for its length.
    if (number >= 120 && number <= 130) folder.Write(std::to_string(number) + ".db", *file);
    columns.push_back("column" + std::to_string(number));
  }
  CHECK(columns.size() > 200);
  CHECK(Python(folder, R"py(
for path in folder.glob("*.db"):
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",), path
    assert db.execute("SELECT * FROM t").fetchall() == [(1,) + (None,) * int(path.stem)], path
)py")
            .empty());
}

TEST_CASE("SQLite makes such a file larger, also from an empty one") {
  if (!Have("/usr/bin/python3")) return;
  const Folder folder;
  folder.Write("file.db", MakeSqliteFile("t", kColumns, {}).value());
  CHECK(Python(folder, R"py(
db = sqlite3.connect(folder / "file.db")
with db:
    db.executemany("INSERT INTO t (b2) VALUES (?)", [(b"y" * 900,)] * 200)
    db.execute("ALTER TABLE t ADD COLUMN c3")
print(*db.execute("PRAGMA integrity_check").fetchone())
print(*db.execute("SELECT count(*) FROM t").fetchone())
try: db.execute("INSERT INTO t (id) VALUES (7)")
except sqlite3.IntegrityError: print("no number twice")
)py") == "ok\n200\nno number twice\n");
}

TEST_CASE("more rows than fit on a page are refused") {
  const std::vector<SqliteRow> rows(3, {{"a1", std::string(1500, 'x')}});
  CHECK(MakeSqliteFile("t", kColumns, std::span(rows).first(2)));
  CHECK(MakeSqliteFile("t", kColumns, rows).error().code() == Code::kLimit);
}

/// The folder of a database with kTestCa in it.
void WriteDatabase(const Folder& folder) {
  const auto database = MakeNssDatabase(FirstCertificate(kTestCa).value());
  REQUIRE(database);
  folder.Write("cert9.db", database->certificates);
  folder.Write("key4.db", database->keys);
}

TEST_CASE("NSS's certutil finds the authority in a database, trusted for servers") {
  if (!Have("certutil")) return;
  const Folder folder;
  WriteDatabase(folder);
  const std::string listed = Run("certutil -L -d sql:" + folder.path);
  CHECK(listed.find("\nsallyport ") != std::string::npos);
  CHECK(listed.find(" C,,") != std::string::npos);
  CHECK(Run("certutil -L -a -n sallyport -d sql:" + folder.path).find("MIIBkDCC") !=
        std::string::npos);
  CHECK(Run("certutil -O -n sallyport -d sql:" + folder.path).find("CN=Test Gate") !=
        std::string::npos);
}

TEST_CASE("NSS's tools write to a database as to one of their own") {
  if (!Have("certutil")) return;
  const Folder folder;
  WriteDatabase(folder);
  const std::string at = " -d sql:" + folder.path;
  // As browsers do at their start: from then on there are seals, and they are checked.
  CHECK(Run("certutil -N --empty-password" + at).empty());
  folder.Write("noise", "some noise for the key, as long as it likes to have it");
  CHECK(Run("certutil -S -x -k ec -q nistp256 -n another -s CN=Another -t C,, -z " + folder.path +
            "/noise" + at)
            .find("failed") == std::string::npos);
  const std::string listed = Run("certutil -L" + at);
  CHECK(listed.find("\nsallyport                                                    C,,") !=
        std::string::npos);
  CHECK(listed.find("\nanother                                                      Cu,u,u") !=
        std::string::npos);
  CHECK(Run("certutil -D -n sallyport" + at).empty());
  CHECK(Run("certutil -L" + at).find("sallyport") == std::string::npos);
}

TEST_CASE("what is not a certificate makes no database") {
  const std::string der = FirstCertificate(kTestCa).value();
  for (size_t size = 0; size < der.size(); ++size) {
    CHECK(MakeNssDatabase(der.substr(0, size)).error().code() == Code::kInvalid);
  }
  CHECK_FALSE(MakeNssDatabase(der + "x"));
  CHECK_FALSE(MakeNssDatabase("\x30\x03\x02\x01\x01"));
}

std::string Der(uint8_t tag, const std::string& content) {
  std::string length;
  for (size_t rest = content.size(); rest > 0; rest >>= 8) {
    length.insert(length.begin(), static_cast<char>(rest));
  }
  if (content.size() >= 128) length.insert(0, 1, static_cast<char>(0x80 + length.size()));
  if (content.empty()) length = std::string(1, '\0');
  return static_cast<char>(tag) + length + content;
}

TEST_CASE("a certificate that no page holds makes no database") {
  const auto with_name = [](size_t size) {
    const std::string name = Der(0x30, Der(0x04, std::string(size, 'x')));
    const std::string version = Der(0xa0, Der(0x02, "\2"));
    return Der(0x30,
               Der(0x30, version + Der(0x02, "\1") + Der(0x30, "") + name + Der(0x30, "") + name));
  };
  CHECK(MakeNssDatabase(with_name(200)));
  CHECK(MakeNssDatabase(with_name(2000)).error().code() == Code::kLimit);
}

}  // namespace
}  // namespace sallyport::guest
