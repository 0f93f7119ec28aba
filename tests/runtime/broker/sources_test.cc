#include "runtime/broker/sources.h"

#include <sys/stat.h>

#include "tests/runtime/broker/files.h"

namespace sallyport::runtime {
namespace {

TEST_CASE("a variable's value comes through the pipe, and only if a source names it") {
  const std::string values("ONE\0first\0TWO\0sec\nond\0", 22);
  const auto sources =
      Sources::Open({EnvSource{"TWO"}, EnvSource{"NONE"}}, *Variables::Read(Pipe(values)));
  CHECK(sources.Read(EnvSource{"TWO"})->text == "sec\nond");
  const auto none = sources.Read(EnvSource{"NONE"});
  REQUIRE_FALSE(none);
  CHECK(none.error().message() == "variable NONE is not set");
  CHECK_FALSE(sources.Read(EnvSource{"ONE"}));
}

TEST_CASE("a variable whose value can't be kept says why when it is asked for") {
  const auto sources =
      Sources::Open({EnvSource{"EMPTY"}}, *Variables::Read(Pipe(std::string_view("EMPTY\0\0", 7))));
  const auto empty = sources.Read(EnvSource{"EMPTY"});
  REQUIRE_FALSE(empty);
  CHECK(empty.error().code() == Code::kInvalid);
  CHECK(empty.error().message() == "variable EMPTY: the value is empty");
}

TEST_CASE("the variables and files of a source's parts are read, too") {
  const Folder folder;
  OAuth2Source oauth;
  oauth.client_secret = EnvSource{"S"};
  GitHubAppSource app;
  app.private_key = FileSource{folder.Write("key", "line one\nline two\n")};
  const auto sources =
      Sources::Open({oauth, app}, *Variables::Read(Pipe(std::string_view("S\0x\0", 4))));
  CHECK(sources.Read(EnvSource{"S"})->text == "x");
  CHECK(sources.Read(std::get<FileSource>(app.private_key))->text == "line one\nline two");
}

TEST_CASE("a file's last newline is not part of the secret") {
  const Folder folder;
  const FileSource a{folder.Write("a", "value\n")};
  const FileSource b{folder.Write("b", "value\r\n")};
  const FileSource c{folder.Write("c", "value")};
  const FileSource d{folder.Write("d", "\n")};
  const auto sources = Sources::Open({a, b, c, d}, {});
  CHECK(sources.Read(a)->text == "value");
  CHECK(sources.Read(b)->text == "value");
  CHECK(sources.Read(c)->text == "value");
  CHECK_FALSE(sources.Read(d));
}

TEST_CASE("a file that is absent, too large or no file is refused with its name") {
  const Folder folder;
  const FileSource fifo{folder / "fifo"};
  REQUIRE(mkfifo(fifo.path.c_str(), 0600) == 0);
  const std::vector<SecretSource> wrong = {FileSource{folder / "absent"},
                                           FileSource{folder.Write("b", std::string(70'000, 'x'))},
                                           fifo, FileSource{folder.path}};
  const auto sources = Sources::Open(wrong, {});
  for (const auto& source : wrong) {
    const auto value = sources.Read(std::get<FileSource>(source));
    REQUIRE_FALSE(value);
    CHECK(value.error().message().find(folder.path) != std::string::npos);
  }
  CHECK_FALSE(sources.Read(FileSource{"/etc/passwd"}));
}

}  // namespace
}  // namespace sallyport::runtime
