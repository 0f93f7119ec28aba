#include "secrets/section_substituter.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <string>

namespace sallyport::secrets {
namespace {

using Where = BodyJudge::Where;

constexpr std::string_view kPlaceholder = "sk-1230ponmlkjihgfedcba";

std::string Escaped(std::string_view text, const char* format) {
  std::string out;
  for (const char c : text) {
    char escape[8];
    std::snprintf(escape, sizeof escape, format, static_cast<unsigned char>(c));
    out += escape;
  }
  return out;
}

TEST_CASE("less than the longest placeholder, as it may be spelled, is held back") {
  Result<PlaceholderIndex> index = PlaceholderIndex::Create("1230");
  REQUIRE(index);
  REQUIRE(index->Add(std::string(kPlaceholder)));
  const Entries entries;
  const BodyPlan plan;
  struct Row {
    Spelling spelling;
    const char* escape;
    size_t longest;
  };
  for (const Row& row : {Row{Spelling::kPlain, "%c", kPlaceholder.size()},
                         Row{Spelling::kPercent, "%%%02x", kPlaceholder.size() * 3},
                         Row{Spelling::kJson, "\\u%04x", kPlaceholder.size() * 6}}) {
    Examination found;
    BodyJudge judge(entries, plan, found);
    SectionSubstituter section(*index, judge, row.spelling);
    std::string body = "\"";
    for (size_t size = 1; size <= kPlaceholder.size(); ++size) {
      body += Escaped(kPlaceholder.substr(0, size), row.escape) + "%\\u" + "1230sk-";
    }
    std::string out;
    size_t most = 0;
    for (size_t fed = 1; fed <= body.size(); ++fed) {
      REQUIRE(section.Feed({&body[fed - 1], 1}, Where::kData, out));
      REQUIRE(section.held() < row.longest);
      REQUIRE(out.size() + section.held() == fed);
      most = std::max(most, section.held());
    }
    CHECK(most > row.longest / 2);  // It was held back as long as it could become one.
    REQUIRE(section.Finish(Where::kData, out));
    CHECK(section.held() == 0);
    CHECK(out == body);
  }
}

}  // namespace
}  // namespace sallyport::secrets
