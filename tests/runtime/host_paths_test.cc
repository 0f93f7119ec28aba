#include "runtime/api/host_paths.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "runtime/api/path_walk.h"
#include "runtime/api/shown_places.h"
#include "tests/support/folder.h"

namespace sallyport {
namespace {

using Catch::Matchers::Contains;
using Paths = std::vector<std::string>;

/// A folder with what lies in it.
struct Folder : testing::Folder {
  void Make(const std::string& folder) const {
    std::filesystem::create_directories(*this / folder);
  }
  void Put(const std::string& file, const std::string& text = "text", mode_t mode = 0644) const {
    Make(std::filesystem::path(file).parent_path());
    std::ofstream(*this / file) << text;
    REQUIRE(chmod((*this / file).c_str(), mode) == 0);
  }
  void Link(const std::string& target, const std::string& at) const {
    std::filesystem::create_symlink(target, *this / at);
  }
};

/// Those of WALK's folders that lie in FOLDER, without its path.
Paths FoldersIn(const PathWalk& walk, const Folder& folder) {
  Paths in;
  for (const auto& each : walk.folders) {
    if (each.starts_with(folder.path)) in.push_back(each.substr(folder.path.size()));
  }
  return in;
}

TEST_CASE("a walk looks each name up where the kernel does, links included") {
  const Folder folder;
  folder.Put("a/b/file");
  folder.Make("c");
  folder.Link("../a/b", "c/to-b");
  folder.Link(folder / "c/to-b/file", "absolute");
  const auto plain = WalkPath("a/./b//file", folder.path);
  CHECK(plain.end == folder / "a/b/file");
  CHECK(FoldersIn(plain, folder) == Paths{"", "/a", "/a/b"});
  const auto linked = WalkPath(folder / "absolute", "/nowhere");
  CHECK(linked.end == folder / "a/b/file");
  // The way again from the top: absolute, c, to-b, a, b, file.
  CHECK(FoldersIn(linked, folder) == Paths{"", "", "/c", "", "/a", "/a/b"});
  const auto upwards = WalkPath("c/to-b/../b/file", folder.path);
  CHECK(upwards.end == folder / "a/b/file");
  CHECK(WalkPath("../../../../../../../..", "/").end == "/");
}

TEST_CASE("a walk ends at what is missing and in a circle, and says how far it came") {
  const Folder folder;
  folder.Put("file");
  folder.Link("two", "one");
  folder.Link("one", "two");
  folder.Link("missing/deeper", "dangling");
  CHECK(WalkPath("missing/deeper", folder.path).end == folder / "missing");
  CHECK(WalkPath("file/below", folder.path).end == folder / "file/below");
  CHECK(FoldersIn(WalkPath("dangling", folder.path), folder) == Paths{"", ""});
  CHECK(WalkPath("dangling", folder.path).end == folder / "missing");
  CHECK(WalkPath("one", folder.path).folders.size() < 500);
  CHECK(WalkPath(std::string(5000, 'x'), folder.path).end.starts_with(folder.path));
}

TEST_CASE("a place is shown by a mount of it, of what is around it, and of the same file") {
  const Folder folder;
  folder.Put("a/b/file");
  folder.Put("ab/file");
  std::filesystem::create_hard_link(folder / "a/b/file", folder / "again");
  const ShownPlaces shown({folder / "a"});
  CHECK(shown.Showing(folder / "a") == folder / "a");
  CHECK(shown.Showing(folder / "a/b/file") == folder / "a");
  CHECK(shown.Showing(folder / "a/missing/deeper") == folder / "a");
  CHECK_FALSE(shown.Showing(folder / "ab/file"));
  CHECK_FALSE(shown.Showing(folder.path));
  CHECK_FALSE(ShownPlaces({}).Showing("/"));
  CHECK(ShownPlaces({folder / "again"}).Showing(folder / "a/b/file") == folder / "again");
}

/// PATH for as long as this lives.
class SearchPath {
 public:
  explicit SearchPath(const std::string& value) : old_(getenv("PATH")) {
    setenv("PATH", value.c_str(), 1);
  }
  ~SearchPath() { setenv("PATH", old_.c_str(), 1); }
  SearchPath(const SearchPath&) = delete;
  SearchPath& operator=(const SearchPath&) = delete;

 private:
  std::string old_;
};

/// What a check of a command with ARGV says that runs in FOLDER, whose folder "shown" the sandbox
/// may write to; "" when it is fine.
std::string Checked(const Folder& folder, std::vector<std::string> argv) {
  std::vector<HostPath> paths;
  AddCommand("command", {.argv = std::move(argv), .folder = folder.path}, paths);
  const auto status = CheckHostPaths(paths, {{.source = folder / "shown", .writable = true}});
  return status ? "" : status.error().message();
}

TEST_CASE("all that decides what a command runs must lie out of the sandbox's reach") {
  const Folder folder;
  const SearchPath path("/usr/bin:/bin");
  folder.Put("shown/program", "#!/bin/sh\n", 0755);
  folder.Put("shown/data");
  folder.Link("shown/program", "link");
  folder.Put("script", "#! \t" + (folder / "shown/program") + " -x\n", 0755);
  folder.Put("indirect", "#!" + (folder / "script"), 0755);
  folder.Put("with-argument", "#!/bin/sh " + (folder / "shown/data") + "\n", 0755);
  folder.Put("circle", "#!" + (folder / "circle") + "\n", 0755);
  folder.Put("plain", "#!/bin/sh\n", 0755);
  CHECK_THAT(Checked(folder, {"./shown/program"}), Contains("program"));
  CHECK_THAT(Checked(folder, {"./link"}), Contains("lies in " + (folder / "shown")));
  for (const char* program : {"./script", "./indirect", "./with-argument"}) {
    INFO(program);
    CHECK(Checked(folder, {program}) != "");
  }
  CHECK(Checked(folder, {"./plain", "shown"}) != "");
  CHECK(Checked(folder, {"./plain", "x=shown/data"}) != "");
  CHECK(Checked(folder, {"./plain", "shown/not-there-yet"}) != "");
  CHECK(Checked(folder, {"sh", "-c", "echo value # shown/data"}) == "");
  CHECK(Checked(folder, {"./plain", "elsewhere", "--flag", "", "a=", "/etc/hosts"}) == "");
  CHECK(Checked(folder, {"./circle"}) == "");
  CHECK(Checked(folder, {"no-such-program"}) == "");
}

TEST_CASE("a folder of PATH in the sandbox's reach is refused, wherever the program is found") {
  const Folder folder;
  folder.Make("shown/bin");
  folder.Make("own");
  folder.Put("elsewhere/tool", "#!/bin/sh\n", 0755);
  folder.Link("../shown/tool", "own/tool");
  for (const std::string& path : {"/usr/bin:" + (folder / "shown/bin"), std::string("shown:/bin"),
                                  "/bin:" + (folder / "shown/missing")}) {
    INFO(path);
    const SearchPath search(path);
    CHECK_THAT(Checked(folder, {"sh"}), Contains("the folder of PATH"));
  }
  const SearchPath search((folder / "own") + ":" + (folder / "elsewhere"));
  CHECK_THAT(Checked(folder, {"tool"}), Contains("its program"));
  CHECK(Checked(folder, {"./elsewhere/tool"}) == "");
}

TEST_CASE("what is obeyed may be seen, a value may not") {
  const Folder folder;
  folder.Put("shown/file");
  const std::vector<HostMount> to_read = {{.source = folder / "shown", .writable = false}};
  const std::vector<HostMount> to_write = {{.source = folder / "shown", .writable = true}};
  const HostPath policy{.what = "the policy", .path = folder / "shown/file"};
  const HostPath value{
      .what = "the value", .path = folder / "shown/file", .use = HostPath::Use::kValue};
  CHECK(CheckHostPaths({policy}, to_read));
  CHECK_FALSE(CheckHostPaths({policy}, to_write));
  const auto seen = CheckHostPaths({value}, to_read);
  REQUIRE_FALSE(seen);
  CHECK(seen.error().code() == Code::kDenied);
  CHECK_FALSE(CheckHostPaths({value}, to_write));
  CHECK(CheckHostPaths({policy, value}, {}));
}

TEST_CASE("the source of a mount may lie in another one, but no link in that says what it is") {
  const Folder folder;
  folder.Make("shown/sub");
  folder.Make("private");
  folder.Link("../private", "shown/link");
  folder.Link("shown", "outside");
  const std::vector<HostMount> mounts = {{.source = folder / "shown", .writable = true}};
  const auto check = [&](const std::string& path) {
    const auto use = HostPath::Use::kShown;
    return CheckHostPaths({{.what = "it", .path = path, .folder = folder.path, .use = use}}, mounts)
        .has_value();
  };
  CHECK(check("shown"));
  CHECK(check("shown/sub"));
  CHECK(check("outside/sub"));
  CHECK(check("private"));
  CHECK_FALSE(check("shown/link"));
  CHECK_FALSE(check("shown/link/deeper"));
  CHECK_FALSE(check("outside/link"));
}

}  // namespace
}  // namespace sallyport
