#include "runtime/broker/sources.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace sallyport::runtime {
namespace {

UniqueFd Pipe(const std::string& bytes) {
  std::array<int, 2> ends;
  REQUIRE(pipe2(ends.data(), O_CLOEXEC) == 0);
  const UniqueFd writer(ends[1]);
  REQUIRE(write(writer.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  return UniqueFd(ends[0]);
}

SecretSpec Spec(std::string name, SecretSource::Kind kind, std::string argument) {
  SecretSpec spec;
  spec.name = std::move(name);
  spec.source = {kind, std::move(argument)};
  return spec;
}

struct Folder {
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sallyport-test-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(path / name) << text;
    return path / name;
  }
  std::filesystem::path path;
};

TEST_CASE("a variable's value comes through the pipe, and only to the secret that names it") {
  using Kind = SecretSource::Kind;
  const std::string values("ONE\0first\0TWO\0sec\nond\0", 22);
  const auto sources = Sources::Open({Spec("A", Kind::kEnv, "TWO"), Spec("B", Kind::kEnv, "NONE")}, Pipe(values));
  CHECK(*sources.Read("A") == "sec\nond");
  REQUIRE_FALSE(sources.Read("B"));
  CHECK(sources.Read("B").error().message() == "variable NONE is not set");
  CHECK_FALSE(sources.Read("ONE"));
}

TEST_CASE("a file's last newline is not part of the secret") {
  using Kind = SecretSource::Kind;
  const Folder folder;
  const auto sources = Sources::Open({Spec("A", Kind::kFile, folder.Write("a", "value\n")),
                                      Spec("B", Kind::kFile, folder.Write("b", "value\r\n")),
                                      Spec("C", Kind::kFile, folder.Write("c", "value")),
                                      Spec("D", Kind::kFile, folder.Write("d", "\n"))},
                                     UniqueFd());
  CHECK(*sources.Read("A") == "value");
  CHECK(*sources.Read("B") == "value");
  CHECK(*sources.Read("C") == "value");
  CHECK_FALSE(sources.Read("D"));
}

TEST_CASE("a file that is absent, too large or no file is refused with its name") {
  using Kind = SecretSource::Kind;
  const Folder folder;
  const std::string fifo = folder.path / "fifo";
  REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
  const auto sources = Sources::Open({Spec("A", Kind::kFile, folder.path / "absent"),
                                      Spec("B", Kind::kFile, folder.Write("b", std::string(70'000, 'x'))),
                                      Spec("C", Kind::kFile, fifo), Spec("D", Kind::kFile, folder.path)},
                                     UniqueFd());
  for (const char* name : {"A", "B", "C", "D"}) {
    CAPTURE(name);
    const auto value = sources.Read(name);
    REQUIRE_FALSE(value);
    CHECK(value.error().message().find(folder.path.string()) != std::string::npos);
  }
}

}  // namespace
}  // namespace sallyport::runtime
