#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#include "secrets/scrub_filter.h"
#include "tests/secrets/scrub_fixture.h"
#include "tests/secrets/scrub_pause_reference.h"

// A stream that pauses: what of a value may be seen, and that nothing else waits.

namespace sallyport::secrets {
namespace {

using Lengths = AnswerFilter::Lengths;

// What comes out of TEXT, with a pause at each of PAUSES.
std::string Pausing(const Set& set, std::string_view text, const std::vector<size_t>& pauses,
                    Lengths lengths = Lengths::kMayChange) {
  ScrubFilter filter(set, lengths);
  std::string out;
  size_t done = 0;
  for (const size_t pause : pauses) {
    PassOrFeed(filter, text.substr(done, pause - done), out);
    filter.Pause(out);
    const size_t shown = filter.shown();
    REQUIRE(shown <= filter.held());
    filter.Pause(out);
    REQUIRE(filter.shown() == shown);
    done = pause;
  }
  PassOrFeed(filter, text.substr(done), out);
  REQUIRE(filter.Finish(out));
  REQUIRE(filter.shown() == 0);
  return out;
}

// How much of TEXT, whose length is kept, is out at each of PAUSES.
std::vector<size_t> OutAt(const Set& set, std::string_view text,
                          const std::vector<size_t>& pauses) {
  ScrubFilter filter(set, Lengths::kKept);
  std::string out;
  std::vector<size_t> sizes;
  size_t done = 0;
  for (const size_t pause : pauses) {
    REQUIRE(filter.Feed(text.substr(done, pause - done), out));
    filter.Pause(out);
    sizes.push_back(out.size());
    done = pause;
  }
  return sizes;
}

// What TEXT has shown when it pauses.
std::string ShownOf(const Set& set, std::string_view text) {
  ScrubFilter filter(set);
  std::string out;
  REQUIRE(filter.Feed(text, out));
  filter.Pause(out);
  return out;
}

std::vector<size_t> EveryPlace(std::string_view text) {
  std::vector<size_t> places;
  for (size_t at = 1; at < text.size(); ++at) places.push_back(at);
  return places;
}

const std::string kToken = "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB";
const std::string kStandIn = "ghp_48151623zyxwvutsrqponmlkjihgfedcba0000";
const std::string kPassword = "p\xc3\xa4ss w\xf0\x9f\x94\x91rd/+=&\"<>'\\%";
const Secrets kSecrets = {{kToken, kStandIn},
                          {kPassword, "81516234placeholder"},
                          {"\xe4\xf6\xfc latin one", "81516234latin"},
                          {"another:value/with+signs==", "81516234and-more-than-the-value-has"}};

TEST_CASE("a message that ends as a value begins is shown at a pause") {
  const Set set = SetOf(kSecrets);
  for (const std::string text :
       {"data: {\"text\":\"a", "g", "gh", "ghp", "ghp_", "ghp_0123456", "ends in p\xc3\xa4",
        "p%", "p%C3%A4", "p\\", "p\\u00", "an", "anothe", "616e6f746865", "61", "dTphbm90a",
        "the digit 6", "a percent %", "Z2hwXzA"}) {
    CAPTURE(text);
    CHECK(ShownOf(set, text) == text);
  }
}

TEST_CASE("nothing is shown of what tells more than the bound, from where it begins") {
  const Set set = SetOf(kSecrets);
  for (const auto& [text, shown] : std::vector<std::pair<std::string, std::string>>{
           {"x " + kToken.substr(0, 11), "x " + kToken.substr(0, 11)},
           {"x " + kToken.substr(0, 12), "x "},
           {"x " + kToken.substr(0, 41), "x "},
           {"x another", "x "},
           {"x 616e6f7468657", "x "},
           {"x Basic YW5vdGhl", "x Basic YW5vdGhl"},
           {"x Basic YW5vdGhlcjp2", "x Basic "},
           {"g" + kToken.substr(0, 12), "g"},
           {"pp\xc3\xa4ss w", "p"},
           {"p%C3%A4ss", "p%C3%A4ss"},
           {"p%C3%A4ss%", ""}}) {
    CAPTURE(text);
    CHECK(ShownOf(set, text) == shown);
  }
}

TEST_CASE("the bound is what the placeholder has, too, and seven bytes or a quarter of the rest") {
  CHECK(ScrubSet::MostTold(kToken, kStandIn) == 4 + 7);
  CHECK(ScrubSet::MostTold("12345678", "81516234") == 2);
  CHECK(ScrubSet::MostTold("sk-1234567890123", "sk-81516234") == 3 + 3);
  CHECK(ScrubSet::MostTold("public-12345678", "public-98151") == 7 + 2);
  CHECK(ScrubSet::MostTold("mysecret", "mysecre81516234") == 7);
  CHECK(ScrubSet::MostTold(std::string(4096, 'a'), "b") == 7);
}

TEST_CASE("what is begun with the placeholder's own beginning becomes the whole placeholder") {
  const Set set = SetOf(kSecrets);
  for (size_t pause = 0; pause <= kToken.size(); ++pause) {
    const std::string out = Pausing(set, "<" + kToken + ">", {pause + 1});
    CAPTURE(pause, out);
    if (pause <= 4 || pause > 11) {
      CHECK(out == "<" + kStandIn + ">");
    } else {
      CHECK(out == "<" + kToken.substr(0, pause) + kStandIn.substr(pause) + ">");
    }
  }
}

TEST_CASE("a value that comes in drips shows no more than the bound") {
  const Set set = SetOf(kSecrets);
  CHECK(Pausing(set, kToken, EveryPlace(kToken)) == kToken.substr(0, 11) + kStandIn.substr(11));
  CHECK(Pausing(set, kToken, EveryPlace(kToken), Lengths::kKept) ==
        kToken.substr(0, 11) + kStandIn.substr(11, kToken.size() - 11));
  const std::string text = "another:value/with+signs==";
  CHECK(Pausing(set, text, EveryPlace(text)) == "anothe34and-more-than-the-value-has");
  // What fails to be one is all there, whatever was shown of it.
  const std::string miss = kToken.substr(0, 41) + "-" + kToken.substr(0, 20) + kToken + "-";
  CHECK(Pausing(set, miss, EveryPlace(miss)) ==
        kToken.substr(0, 41) + "-" + kToken.substr(0, 20) + kToken.substr(0, 11) +
            kStandIn.substr(11) + "-");
}

TEST_CASE("a whole value that may yet become a longer one is not shown at a pause") {
  const Set set = SetOf({{"password", "SHORT-PLACEHOLDER"}, {"password-and-more", "LONG-81516234"}});
  CHECK(ShownOf(set, "my password") == "my ");
  CHECK(Pausing(set, "my password-and-mor", EveryPlace("my password-and-mor")) ==
        "my paORT-PLACEHOLDER-and-mor");
}

TEST_CASE("every rendering shows what the plain way shows, with pauses at every two places") {
  const Set set = SetOf(kSecrets);
  std::vector<std::string> texts;
  for (const NaiveSecret& secret : kSecrets) {
    texts.push_back(secret.value);
    texts.push_back(NaiveHex(secret.value, "%02X"));
    for (const char* before : {"", "u", "us"}) texts.push_back(NaiveBase64(before + secret.value));
  }
  texts.push_back("p%C3%A4ss+w%F0%9F%94%91rd%2F%2B%3D%26%22%3C%3E%27%5C%25");
  texts.push_back("p\\u00e4ss w\\ud83d\\udd11rd\\/+=&\\\"<>'\\\\%");
  texts.push_back("p&#228;ss w&#x1F511;rd&#x2F;+&#x3D;&amp;&quot;&lt;&gt;&#39;\\%");
  const std::vector<NaivePattern> patterns = NaivePatterns(kSecrets);
  for (const std::string& rendered : texts) {
    // A beginning, one whole, a beginning.
    const std::string text = rendered.substr(0, 9) + rendered + "\n" + rendered.substr(0, 5);
    std::vector<NaivePause> at;
    for (size_t i = 0; i <= text.size(); ++i) {
      at.push_back(NaivePauseBehind(patterns, text.substr(0, i)));
    }
    for (size_t first = 0; first <= text.size(); ++first) {
      for (size_t second = first; second <= text.size(); second += 5) {
        const std::vector<NaivePause> pauses = {at[first], at[second]};
        CAPTURE(text, first, second);
        REQUIRE(Pausing(set, text, {first, second}) ==
                NaiveScrubPausing(patterns, text, pauses, NaiveLengths::kMayChange));
        const std::string kept = Pausing(set, text, {first, second}, Lengths::kKept);
        REQUIRE(kept.size() == text.size());
        REQUIRE(kept == NaiveScrubPausing(patterns, text, pauses, NaiveLengths::kKept));
      }
    }
  }
}

std::string RandomText(std::mt19937& random, std::string_view alphabet, size_t size) {
  std::string text;
  while (text.size() < size) text += alphabet[random() % alphabet.size()];
  return text;
}

TEST_CASE("random values in random texts with random pauses show what the plain way shows") {
  // Few characters, so that beginnings, overlaps and second readings are common.
  const std::string_view alphabets[] = {"ab%25&\\/", "a+/= -_", "aa", "0123456789abcdef",
                                        "aB3$xY7!zQ\"<"};
  std::mt19937 random(11);
  for (int round = 0; round < 80; ++round) {
    const std::string_view alphabet = alphabets[random() % std::size(alphabets)];
    Secrets secrets;
    for (size_t count = 1 + random() % 3; count > 0; --count) {
      const std::string known = RandomText(random, alphabet, random() % 4);
      secrets.push_back({known + RandomText(random, alphabet, 8 + random() % 30),
                         known + std::to_string(count) + RandomText(random, "xyz", 40)});
    }
    const Set set = SetOf(secrets);
    std::string text;
    while (text.size() < 100) {
      const std::string& value = secrets[random() % secrets.size()].value;
      const std::string rendered =
          random() % 4 == 0 ? NaiveBase64(std::string(random() % 3, 'x') + value) : value;
      text += random() % 3 == 0 ? rendered : rendered.substr(0, random() % rendered.size());
      text += RandomText(random, alphabet, random() % 3);
    }
    std::vector<size_t> pauses;
    const size_t step = 1 + random() % 20;
    for (size_t at = random() % 10; at < text.size(); at += 1 + random() % step) pauses.push_back(at);
    const std::vector<NaivePattern> patterns = NaivePatterns(secrets);
    std::vector<NaivePause> behind;
    std::vector<size_t> shown;
    for (const size_t at : pauses) {
      behind.push_back(NaivePauseBehind(patterns, text.substr(0, at)));
      shown.push_back(std::max(behind.back().shown, shown.empty() ? 0 : shown.back()));
    }
    CAPTURE(round, text, pauses);
    REQUIRE(OutAt(set, text, pauses) == shown);
    REQUIRE(Pausing(set, text, pauses) ==
            NaiveScrubPausing(patterns, text, behind, NaiveLengths::kMayChange));
    REQUIRE(Pausing(set, text, pauses, Lengths::kKept) ==
            NaiveScrubPausing(patterns, text, behind, NaiveLengths::kKept));
  }
}

}  // namespace
}  // namespace sallyport::secrets
