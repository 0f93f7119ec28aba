#include "guest/protocol/messages.h"

#include <catch2/catch.hpp>

#include "guest/protocol/cbor.h"

namespace sallyport::guest {
namespace {

using namespace std::string_literals;

Exec Sample() {
  return {.argv = {"sh", "-c", "echo \xff", ""},
          .env = {{"A", "1"}, {"EMPTY", ""}, {"B", "x=y"}},
          .cwd = "/srv",
          .tty = true,
          .rows = 24,
          .columns = 65535,
          .files = {{"/etc/x.conf", "a\0b"s}, {"/empty", ""}}};
}

// An Exec whose parts are given as raw CBOR.
std::string ExecWith(const std::string& argv, const std::string& env, const std::string& cwd,
                     const std::string& files = "\xa0") {
  return "\xa7\x01"s + argv + "\x02" + env + "\x03" + cwd + "\x04\xf4\x05\x00\x06\x00\x07"s + files;
}

TEST_CASE("each message reads back as written") {
  CHECK(Hello::Decode(Hello{.generation = 7}.Encode()).value().generation == 7);
  const Trust trust = Trust::Decode(Trust{"PEM", "1a2b3c4d"}.Encode()).value();
  CHECK(trust.ca_pem == "PEM");
  CHECK(trust.subject_hash == "1a2b3c4d");
  const Exec exec = Exec::Decode(Sample().Encode()).value();
  CHECK(exec.argv == Sample().argv);
  CHECK(exec.env == Sample().env);
  CHECK(exec.cwd == "/srv");
  CHECK(exec.files == Sample().files);
  CHECK(exec.tty);
  CHECK(exec.rows == 24);
  CHECK(exec.columns == 65535);
  CHECK(Exit::Decode(Exit{.code = 255}.Encode()).value().ShellCode() == 255);
  CHECK(Exit::Decode(Exit{.signal = 9}.Encode()).value().ShellCode() == 137);
  CHECK(SignalRequest::Decode(SignalRequest{15}.Encode()).value().number == 15);
  const Resize resize = Resize::Decode(Resize{1, 2}.Encode()).value();
  CHECK(resize.rows == 1);
  CHECK(resize.columns == 2);
  const Dial dial{Dial::Transport::kUdp, 65535, {"\x7f\0\0\1"s, std::string(16, '\1')}};
  const Dial dialled = Dial::Decode(dial.Encode()).value();
  CHECK(dialled.transport == Dial::Transport::kUdp);
  CHECK(dialled.port == 65535);
  CHECK(dialled.addresses == dial.addresses);
  const ErrorMessage error = ErrorMessage::Decode(ErrorMessage{127, "no"}.Encode()).value();
  CHECK(error.exit_code == 127);
  CHECK(error.message == "no");
}

TEST_CASE("a message that ends early or goes on is refused") {
  const std::string bytes = Sample().Encode();
  for (size_t size = 0; size < bytes.size(); ++size) {
    CHECK_FALSE(Exec::Decode(std::string_view(bytes).substr(0, size)));
  }
  CHECK_FALSE(Exec::Decode(bytes + "\0"s));
}

TEST_CASE("a dial is refused without an address, with an odd one, and without a port") {
  const std::string v4 = "\x7f\0\0\1"s;
  CHECK(Dial::Decode(Dial{.port = 1, .addresses = {v4}}.Encode()));
  CHECK_FALSE(Dial::Decode(Dial{.port = 0, .addresses = {v4}}.Encode()));
  CHECK_FALSE(Dial::Decode(Dial{.port = 1, .addresses = {}}.Encode()));
  CHECK_FALSE(Dial::Decode(Dial{.port = 1, .addresses = {"12345"}}.Encode()));
  const std::vector<std::string> nine(Dial::kMaxAddresses + 1, v4);
  CHECK_FALSE(Dial::Decode(Dial{.port = 1, .addresses = nine}.Encode()));
  CHECK_FALSE(Dial::Decode("\xa3\x01\x03\x02\x01\x03\x81\x44\x7f\0\0\1"s));  // No transport 3.
}

TEST_CASE("unknown keys are skipped, known ones are needed exactly once") {
  CHECK(Hello::Decode("\xa2\x01\x01\x18\x63\x82\x01\x61\x78"s).value().generation == 1);
  CHECK_FALSE(Hello::Decode("\xa2\x01\x01\x01\x01"s));  // Twice.
  CHECK_FALSE(Hello::Decode("\xa1\x02\x01"s));          // Never.
  CHECK_FALSE(Hello::Decode("\xa0"s));
  CHECK_FALSE(Hello::Decode("\xa1\x61\x31\x01"s));  // The key is a text.
  CHECK_FALSE(Hello::Decode("\xa1\x01\x61\x31"s));  // The value is.
  CHECK_FALSE(Hello::Decode("\x81\x01"s));          // Not a map.
}

TEST_CASE("numbers out of their range are refused") {
  CHECK_FALSE(Hello::Decode(Hello{.generation = 0}.Encode()));
  CHECK_FALSE(Hello::Decode("\xa1\x01\x1b\0\0\0\x01\0\0\0\0"s));
  CHECK_FALSE(Exit::Decode(Exit{.code = 256}.Encode()));
  CHECK_FALSE(Exit::Decode(Exit{.code = -1}.Encode()));
  CHECK_FALSE(Exit::Decode(Exit{.signal = 65}.Encode()));
  CHECK_FALSE(SignalRequest::Decode(SignalRequest{0}.Encode()));
  CHECK_FALSE(SignalRequest::Decode(SignalRequest{-9}.Encode()));
  CHECK_FALSE(SignalRequest::Decode(SignalRequest{65}.Encode()));
  CHECK_FALSE(Resize::Decode("\xa2\x01\x1a\0\x01\0\0\x02\x01"s));
}

TEST_CASE("an exec that the kernel would read otherwise is refused") {
  CHECK(Exec::Decode(ExecWith("\x81\x61\x61", "\xa0", "\x60")));
  CHECK_FALSE(Exec::Decode(ExecWith("\x80", "\xa0", "\x60")));                      // No argv.
  CHECK_FALSE(Exec::Decode(ExecWith("\x81\x62\x61\0"s, "\xa0", "\x60")));           // A zero byte.
  CHECK_FALSE(Exec::Decode(ExecWith("\x81\x61\x61", "\xa1\x61=\x60", "\x60")));     // Named "=".
  CHECK_FALSE(Exec::Decode(ExecWith("\x81\x61\x61", "\xa1\x60\x60", "\x60")));      // No name.
  CHECK_FALSE(Exec::Decode(ExecWith("\x81\x61\x61", "\xa1\x61x\x61\0"s, "\x60")));  // A zero byte.
  CHECK_FALSE(Exec::Decode(ExecWith("\x81\x61\x61", "\xa0", "\x61x")));             // Relative.
  CHECK(Exec::Decode(ExecWith("\x81\x61\x61", "\xa0", "\x60", "\xa1\x62/x\x60")));
  for (const auto& path : {"\x60"s, "\x61x"s, "\x63/x/"s, "\x63/x\0"s}) {  // Not a file's.
    CHECK_FALSE(Exec::Decode(ExecWith("\x81\x61\x61", "\xa0", "\x60", "\xa1" + path + "\x60")));
  }
}

TEST_CASE("a count of strings beyond the limit is refused before it is allocated") {
  CborWriter argv;
  argv.Array(70000);
  for (int i = 0; i < 70000; ++i) argv.Text("");
  const auto exec = Exec::Decode(ExecWith(argv.Take(), "\xa0", "\x60"));
  REQUIRE_FALSE(exec);
  CHECK(exec.error().code() == Code::kLimit);
}

}  // namespace
}  // namespace sallyport::guest
