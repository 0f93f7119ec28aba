#include "runtime/warden/reload_message.h"

#include <catch2/catch.hpp>

namespace sallyport::runtime {
namespace {

TEST_CASE("a policy comes back as it was sent, and cut anywhere is none") {
  const ReloadMessage sent{"allow.http { host = \"a.example\" }",
                           "policy.lua",
                           "/home/me",
                           {"/home/me/policy.lua", "/home/me/token"},
                           {{"TOKEN", "value"}, {"B", ""}}};
  const std::string bytes = sent.Encode();
  const auto got = ReloadMessage::Decode(bytes);
  REQUIRE(got);
  CHECK(got->text == sent.text);
  CHECK(got->name == sent.name);
  CHECK(got->folder == sent.folder);
  CHECK(got->files == sent.files);
  CHECK(got->values == sent.values);
  for (size_t length = 0; length < bytes.size(); ++length) {
    CHECK_FALSE(ReloadMessage::Decode(std::string_view(bytes).substr(0, length)));
  }
  CHECK_FALSE(ReloadMessage::Decode(bytes + "x"));
}

}  // namespace
}  // namespace sallyport::runtime
