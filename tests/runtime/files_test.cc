#include "runtime/api/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>
#include <thread>

#include "base/unique_fd.h"

namespace sallyport {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kShort{20};
constexpr milliseconds kLong{60'000};

class Fifo {
 public:
  Fifo() {
    char folder[] = "/tmp/files_test.XXXXXX";
    REQUIRE(mkdtemp(folder) != nullptr);
    folder_ = folder;
    REQUIRE(mkfifo(path().c_str(), 0600) == 0);
  }
  ~Fifo() {
    unlink(path().c_str());
    rmdir(folder_.c_str());
  }
  std::string path() const { return folder_ + "/fifo"; }

 private:
  std::string folder_;
};

// What a shell's <(...) gives: the reading end under /dev/fd, TEXT in it, and nobody who writes more.
struct Substituted {
  explicit Substituted(const std::string& text) {
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    reader = UniqueFd(ends[0]);
    const UniqueFd writer(ends[1]);
    REQUIRE(write(writer.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  std::string path() const { return "/dev/fd/" + std::to_string(reader.get()); }
  UniqueFd reader;
};

}  // namespace

TEST_CASE("a pipe is read to its end where it may be one") {
  const Substituted pipe("allow");
  CHECK(IsPipe(pipe.path()));
  const auto text = ReadFile(pipe.path(), 100, FileKind::kRegularOrPipe, kLong);
  REQUIRE(text);
  CHECK(*text == "allow");
}

TEST_CASE("a pipe is refused where a file is wanted") {
  const Substituted pipe("allow");
  CHECK(ReadFile(pipe.path(), 100).error().code() == Code::kInvalid);
}

TEST_CASE("a pipe with more than the bound is refused") {
  const Substituted pipe(std::string(101, 'x'));
  CHECK(ReadFile(pipe.path(), 100, FileKind::kRegularOrPipe, kLong).error().code() ==
        Code::kLimit);
}

TEST_CASE("a FIFO's writer is waited for, and all that it writes") {
  const Fifo fifo;
  std::thread writer([&fifo] {
    const UniqueFd end(open(fifo.path().c_str(), O_WRONLY | O_CLOEXEC));
    for (int i = 0; i < 3; ++i) {
      if (write(end.get(), "abc", 3) != 3) return;
      std::this_thread::yield();
    }
  });
  const auto text = ReadFile(fifo.path(), 100, FileKind::kRegularOrPipe, kLong);
  writer.join();
  REQUIRE(text);
  CHECK(*text == "abcabcabc");
}

TEST_CASE("a FIFO that nobody writes to is given up") {
  const Fifo fifo;
  CHECK(ReadFile(fifo.path(), 100, FileKind::kRegularOrPipe, kShort).error().code() ==
        Code::kTimeout);
}

TEST_CASE("a FIFO whose writer never ends is given up") {
  const Fifo fifo;
  const UniqueFd both(open(fifo.path().c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(write(both.get(), "abc", 3) == 3);
  CHECK(ReadFile(fifo.path(), 100, FileKind::kRegularOrPipe, kShort).error().code() ==
        Code::kTimeout);
}

TEST_CASE("a device is no pipe") {
  CHECK_FALSE(IsPipe("/dev/zero"));
  CHECK(ReadFile("/dev/zero", 100, FileKind::kRegularOrPipe).error().code() == Code::kInvalid);
}

}  // namespace sallyport
