#include "secrets/scrub_filter.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#include "tests/secrets/scrub_fixture.h"
#include "tests/secrets/scrub_reference.h"

namespace sallyport::secrets {
namespace {


std::string Whole(const Set& set, std::string_view text) {
  return Scrubbed(*set, text).value_or(std::string(text));
}

// What comes out of a stream that is cut at CUTS, with and without copies.
std::string Streamed(const Set& set, std::string_view text, const std::vector<size_t>& cuts) {
  ScrubFilter filter(set);
  ScrubFilter passing(set);
  std::string out;
  std::string passed;
  const auto feed = [&](std::string_view piece) {
    REQUIRE(filter.Feed(piece, out));
    PassOrFeed(passing, piece, passed);
    REQUIRE(passing.held() == filter.held());
  };
  size_t done = 0;
  for (const size_t cut : cuts) {
    feed(text.substr(done, cut - done));
    done = cut;
  }
  feed(text.substr(done));
  REQUIRE(filter.Finish(out));
  REQUIRE(passing.Finish(passed));
  REQUIRE(passed == out);
  return out;
}

std::string ByteByByte(const Set& set, std::string_view text) {
  std::vector<size_t> cuts;
  for (size_t at = 1; at < text.size(); ++at) cuts.push_back(at);
  return Streamed(set, text, cuts);
}

// A token, one with everything in it that some encoder escapes, one that is no UTF-8.
const Secrets kSecrets = {{"ghp_0123456789abcdefghijklmnopqrstuvwxyzAB", "ghp_48151623zyxwvutsr"},
                          {"p\xc3\xa4ss w\xf0\x9f\x94\x91rd/+=&\"<>'\\%", "81516234placeholder"},
                          {"\xe4\xf6\xfc latin one", "81516234latin"},
                          {"another:value/with+signs==", "81516234and-more-than-the-value-has"}};

// What encoders make of them, each with what the guest must see. Of base64 a client sees the
// placeholder with the first and the last byte changed where the value shares digits with others.
const std::vector<std::pair<std::string, std::string>> kRendered = {
    {"ghp_0123456789abcdefghijklmnopqrstuvwxyzAB", "ghp_48151623zyxwvutsr"},
    {"ghp%5F0123456789abcdefghijklmnopqrstuvwxyzAB", "ghp_48151623zyxwvutsr"},
    // As it is.
    {"p\xc3\xa4ss w\xf0\x9f\x94\x91rd/+=&\"<>'\\%", "81516234placeholder"},
    // Python: urllib.parse.quote, quote_plus, quote(safe=""); the same in lower case.
    {"p%C3%A4ss%20w%F0%9F%94%91rd/%2B%3D%26%22%3C%3E%27%5C%25", "81516234placeholder"},
    {"p%C3%A4ss+w%F0%9F%94%91rd%2F%2B%3D%26%22%3C%3E%27%5C%25", "81516234placeholder"},
    {"p%c3%a4ss%20w%f0%9f%94%91rd%2f%2b%3d%26%22%3c%3e%27%5c%25", "81516234placeholder"},
    // JavaScript: encodeURIComponent, encodeURI, URLSearchParams.
    {"p%C3%A4ss%20w%F0%9F%94%91rd%2F%2B%3D%26%22%3C%3E'%5C%25", "81516234placeholder"},
    {"p%C3%A4ss%20w%F0%9F%94%91rd/+=&%22%3C%3E'%5C%25", "81516234placeholder"},
    // json.dumps, json.dumps(ensure_ascii=False), JSON.stringify; PHP's json_encode; Go's Marshal;
    // everything but letters and digits by number, with large digits.
    {"p\\u00e4ss w\\ud83d\\udd11rd/+=&\\\"<>'\\\\%", "81516234placeholder"},
    {"p\xc3\xa4ss w\xf0\x9f\x94\x91rd/+=&\\\"<>'\\\\%", "81516234placeholder"},
    {"p\\u00e4ss w\\ud83d\\udd11rd\\/+=&\\\"<>'\\\\%", "81516234placeholder"},
    {"p\xc3\xa4ss w\xf0\x9f\x94\x91rd/+=\\u0026\\\"\\u003c\\u003e'\\\\%", "81516234placeholder"},
    {"p\\u00E4ss\\u0020w\\uD83D\\uDD11rd\\u002F\\u002B\\u003D\\u0026\\u0022\\u003C\\u003E\\u0027"
     "\\u005C\\u0025",
     "81516234placeholder"},
    // html.escape, htmlspecialchars, a template language that escapes more.
    {"p\xc3\xa4ss w\xf0\x9f\x94\x91rd/+=&amp;&quot;&lt;&gt;&#x27;\\%", "81516234placeholder"},
    {"p\xc3\xa4ss w\xf0\x9f\x94\x91rd/+=&amp;&quot;&lt;&gt;&#039;\\%", "81516234placeholder"},
    {"p&#228;ss w&#x1F511;rd&#x2F;+&#x3D;&amp;&quot;&lt;&gt;&#39;\\%", "81516234placeholder"},
    // A URL in a JSON string.
    {"p%C3%A4ss%20w%F0%9F%94%91rd\\/+=&%22%3C%3E'%5C%25", "81516234placeholder"},
    {"\xe4\xf6\xfc latin one", "81516234latin"},
    {"%E4%F6%FC%20latin%20one", "81516234latin"},
    {"%e4%f6%fc+latin+one", "81516234latin"},
    // Hexadecimal.
    {"616e6f746865723a76616c75652f776974682b7369676e733d3d",
     "3831353136323334616e642d6d6f72652d7468616e2d7468652d76616c75652d686173"},
    {"616E6F746865723A76616C75652F776974682B7369676E733D3D",
     "3831353136323334616E642D6D6F72652D7468616E2D7468652D76616C75652D686173"},
    // Basic, of user "u", "us" and "use", with padding, in the URL's alphabet, without padding.
    {"Basic dTphbm90aGVyOnZhbHVlL3dpdGgrc2lnbnM9PQ==",
     "Basic dTp4MTUxNjIzNGFuZC1tb3JlLXRoYW4tdGhlLQ=="},
    {"Basic dXM6YW5vdGhlcjp2YWx1ZS93aXRoK3NpZ25zPT0=",
     "Basic dXM6ODE1MTYyMzRhbmQtbW9yZS10aGFuLXRoZS0="},
    {"Basic dXNlOmFub3RoZXI6dmFsdWUvd2l0aCtzaWducz09",
     "Basic dXNlOmgxNTE2MjM0YW5kLW1vcmUtdGhhbi10aGUt"},
};

TEST_CASE("the middle of base64 is what does not depend on its surroundings") {
  CHECK(NaiveBase64Middle("another:value", 0) == "YW5vdGhlcjp2YWx1Z");
  CHECK(NaiveBase64Middle("another:value", 1) == "Fub3RoZXI6dmFsdW");
  CHECK(NaiveBase64Middle("another:value", 2) == "hbm90aGVyOnZhbHVl");
}

TEST_CASE("a value is found as usual encoders write it, and its placeholder stands there instead") {
  const Set set = SetOf(kSecrets);
  for (const auto& [text, expected] : kRendered) {
    CAPTURE(text);
    CHECK(Whole(set, text) == expected);
    CHECK(NaiveScrub(kSecrets, text) == expected);
    CHECK(Whole(set, "{\"a\": \"" + text + "\"}\n") == "{\"a\": \"" + expected + "\"}\n");
  }
}

TEST_CASE("the output does not depend on how the input was cut") {
  const Set set = SetOf(kSecrets);
  for (const auto& [rendered, expected] : kRendered) {
    // A beginning of it, itself twice, its end, and a beginning at the end.
    const std::string half = rendered.substr(0, rendered.size() / 2);
    const std::string text =
        half + rendered + "," + rendered + rendered.substr(rendered.size() / 2) + "\n\n" + half;
    const std::string whole = NaiveScrub(kSecrets, text);
    CAPTURE(text);
    REQUIRE(Whole(set, text) == whole);
    CHECK(ByteByByte(set, text) == whole);
    for (size_t first = 0; first <= text.size(); ++first) {
      for (size_t second = first; second <= text.size(); second += 7) {
        if (Streamed(set, text, {first, second}) == whole) continue;
        CAPTURE(first, second);
        REQUIRE(Streamed(set, text, {first, second}) == whole);
      }
    }
  }
}

// TEXT as a stream that keeps lengths, cut at every place.
std::string KeptLength(const Set& set, std::string_view text) {
  std::string first;
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    ScrubFilter filter(set, AnswerFilter::Lengths::kKept);
    std::string out;
    REQUIRE(filter.Feed(text.substr(0, cut), out));
    REQUIRE(filter.Feed(text.substr(cut), out));
    REQUIRE(filter.Finish(out));
    CHECK(filter.changed() == (out != text));
    if (cut == 0) first = out;
    REQUIRE(out == first);
  }
  return first;
}

TEST_CASE("where lengths are kept, every rendering becomes as many bytes, in whatever pieces") {
  const Set set = SetOf(kSecrets);
  for (const auto& [text, expected] : kRendered) {
    CAPTURE(text);
    const std::string around = "\x0a\x05" + text + "\x12";
    const std::string kept = KeptLength(set, around);
    CHECK(kept.size() == around.size());
    CHECK_FALSE(Contains(*set, kept));
    if (text.size() == expected.size()) CHECK(kept == "\x0a\x05" + expected + "\x12");
  }
  CHECK(KeptLength(set, "untouched") == "untouched");
}

TEST_CASE("where lengths are kept, a placeholder is cut or repeated in the form of the value") {
  const Set set = SetOf({{"shortone", "481516-much-longer"}, {"a&b value that is long", "81516"}});
  CHECK(KeptLength(set, "shortone") == "481516-m");
  CHECK(KeptLength(set, "73686f72746f6e65") == NaiveHex("481516-m", "%02x"));
  CHECK(KeptLength(set, "a&b value that is long") == "8151681516815168151681");
  CHECK(KeptLength(set, "a&amp;b value that is long") == "81516815168151681516815168");
  CHECK(KeptLength(set, "a%26b+value+that+is+long").size() == 24);
}

TEST_CASE("a rendering is found at every place of a text that is longer than any stride") {
  const Set set = SetOf(kSecrets);
  for (const auto& [rendered, expected] : kRendered) {
    for (size_t before = 0; before < 40; ++before) {
      for (const size_t after : {size_t{0}, size_t{1}, size_t{3}, size_t{40}}) {
        const std::string left(before, '!');
        const std::string right(after, '!');
        if (Whole(set, left + rendered + right) == left + expected + right) continue;
        CAPTURE(rendered, before, after);
        REQUIRE(Whole(set, left + rendered + right) == left + expected + right);
      }
    }
  }
}

TEST_CASE("what misses a rendering by one character stays as it is") {
  const Set set = SetOf(kSecrets);
  for (std::string text :
       {"ghp_0123456789abcdefghijklmnopqrstuvwxyzAC",
        "p%C3%A4ss%20w%F0%9F%94%91rd/%2B%3D%26%22%3C%3E%27%5D%25",
        "p\\u00e4ss w\\ud83d\\udd12rd/+=&\\\"<>'\\\\%",
        "616e6F746865723a76616c75652f776974682b7369676e733d3d",
        "%67hp_0123456789abcdefghijklmnopqrstuvwxyzAB", "YW5vdGhlcjp2YWx1ZS93aXRoK3NpZ25zPT1="}) {
    if (text.starts_with("YW5")) text[8] = 'k';
    CAPTURE(text);
    CHECK_FALSE(Scrubbed(*set, text));
    CHECK(ByteByByte(set, text) == text);
  }
}

TEST_CASE("the longest rendering at the leftmost place wins, and the search goes on behind it") {
  const Secrets secrets = {{"password", "SHORT"},
                           {"password-and-more", "LONG"},
                           {"a-password", "EARLY"},
                           {"moremore", "MORE"},
                           {"password", "never: the first with the value counts"}};
  const Set set = SetOf(secrets);
  for (const auto& [text, expected] :
       std::vector<std::pair<std::string, std::string>>{{"password", "SHORT"},
                                                        {"password-and-more", "LONG"},
                                                        {"password-and-mor", "SHORT-and-mor"},
                                                        {"passwordpassword-and-more", "SHORTLONG"},
                                                        {"a-password-and-more", "EARLY-and-more"},
                                                        {"password-and-moremore", "LONGmore"},
                                                        {"password-and-moremoremore", "LONGMORE"},
                                                        {"passwpassword", "passwSHORT"},
                                                        {"password%2dand%2Dmore", "LONG"},
                                                        {"password%2", "SHORT%2"}}) {
    CAPTURE(text);
    CHECK(NaiveScrub(secrets, text) == expected);
    CHECK(Whole(set, text) == expected);
    CHECK(ByteByByte(set, text) == expected);
  }
}

TEST_CASE("a value made of what escapes are made of is found in all of its readings") {
  const Secrets secrets = {
      {"%25%25%2525", "PERCENT"}, {"\\\\\\\\\\\\\\\\", "BACKSLASH"}, {"&amp;&amp;", "AND"}};
  const Set set = SetOf(secrets);
  for (const std::string text :
       {"%25%25%2525", "%2525%2525%252525", "%2525%25%252525", "\\\\\\\\\\\\\\\\",
        "\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\", "\\\\\\\\\\\\\\\\\\", "&amp;amp;&amp;amp;",
        "&amp;&amp;amp;", "&amp;&amp;", "%25%25%252"}) {
    CAPTURE(text);
    CHECK(Whole(set, text) == NaiveScrub(secrets, text));
    CHECK(ByteByByte(set, text) == NaiveScrub(secrets, text));
  }
  CHECK(Whole(set, "&amp;amp;&amp;amp;") == "AND");
}

TEST_CASE("only a tail that a rendering may begin with is held back") {
  const Set set = SetOf({{"a-token-of-32-characters-or-more", "PLACEHOLDER"}});
  const auto held_of = [&set](std::string_view text) {
    ScrubFilter filter(set);
    std::string out;
    REQUIRE(filter.Feed(text, out));
    CHECK(out == text.substr(0, text.size() - filter.held()));
    return filter.held();
  };
  CHECK(held_of("data: {}\n\n") == 0);
  CHECK(held_of("data: a-token-of-32\n\n") == 0);
  CHECK(held_of("data: a-token-of-32") == 13);
  CHECK(held_of("data: a-token-of-32%2") == 15);
  CHECK(held_of("data: a-token-of-32%2d") == 16);
  CHECK(held_of("data: a-token-of-32%2x") == 0);
  CHECK(held_of("data: a-a-token-of-32-characters-or-mor") == 31);
  CHECK(held_of("a") == 1);
  CHECK(held_of("") == 0);
}

TEST_CASE("what has no value in it passes without a copy") {
  const Set set = SetOf({{"a-token-of-32-characters-or-more", "PLACEHOLDER"}});
  ScrubFilter filter(set);
  CHECK(filter.Pass("data: {}\n\n") == 10);
  CHECK(filter.Pass("") == 0);
  CHECK_FALSE(filter.Pass("data: a-token-of-32-characters-or-more"));
  CHECK(filter.held() == 0);
  CHECK(filter.Pass("data: a-token-of-32") == 6);
  CHECK(filter.held() == 13);
  CHECK_FALSE(filter.Pass("\n\n"));
  std::string out;
  REQUIRE(filter.Feed("-characters-or-more", out));
  CHECK(out == "PLACEHOLDER");
  CHECK(filter.changed());
}

TEST_CASE("what is held back goes out as soon as it can't become a rendering") {
  const Set set = SetOf({{"password-one", "ONE"}, {"word-one-and-two", "TWO"}});
  ScrubFilter filter(set);
  std::string out;
  REQUIRE(filter.Feed("my password-on", out));
  CHECK(out == "my ");
  REQUIRE(filter.Feed("e", out));
  CHECK(out == "my ONE");
  REQUIRE(filter.Feed(" password-onx", out));
  CHECK(out == "my ONE password-onx");
  REQUIRE(filter.Feed("pass", out));
  REQUIRE(filter.Feed("word-on", out));
  CHECK(out == "my ONE password-onx");
  REQUIRE(filter.Feed("/", out));
  CHECK(out == "my ONE password-onxpassword-on/");
  REQUIRE(filter.Feed("passxword-one-and-tw", out));
  CHECK(out == "my ONE password-onxpassword-on/passx");
  REQUIRE(filter.Finish(out));
  CHECK(out == "my ONE password-onxpassword-on/passxword-one-and-tw");
}

// One character in one of its spellings, at random.
std::string Spelled(std::mt19937& random, const std::string& raw, long code) {
  const Symbol symbol =
      code < 0 ? kLoneByte + static_cast<unsigned char>(raw[0]) : static_cast<Symbol>(code);
  Spellings scratch;
  const Spellings& spellings = SpellingsOf(symbol, scratch);
  return std::string(spellings[random() % 3 == 0 ? random() % spellings.size() : 0]);
}

std::string RandomRendering(std::mt19937& random, const std::string& value) {
  switch (random() % 4) {
    case 0:
      return NaiveHex(value, random() % 2 == 0 ? "%02x" : "%02X");
    case 1:
      return NaiveBase64("abc" + std::string(random() % 3, 'x') + value +
                         std::string(random() % 4, 'y'));
    default: {
      std::string text;
      for (const auto& [raw, code] : NaiveCharacters(value)) text += Spelled(random, raw, code);
      return text;
    }
  }
}

std::string RandomText(std::mt19937& random, std::string_view alphabet, size_t size) {
  std::string text;
  while (text.size() < size) text += alphabet[random() % alphabet.size()];
  return text;
}

TEST_CASE("random values in random texts and random cuts give what the plain way gives") {
  // Few characters, so that beginnings, overlaps and second readings are common.
  const std::string_view alphabets[] = {"ab%25&\\/", "a+/= -_", "\xc3\xa4\xf0\x9f\x94\x91 a",
                                        "0123456789abcdef", "aB3$xY7!zQ\"<"};
  std::mt19937 random(7);
  for (int round = 0; round < 400; ++round) {
    const std::string_view alphabet = alphabets[random() % std::size(alphabets)];
    Secrets secrets;
    for (size_t count = 1 + random() % 4; count > 0; --count) {
      std::string value = RandomText(random, alphabet, 8 + random() % 16);
      if (!secrets.empty() && random() % 4 == 0) value = secrets[0].value + value;
      secrets.push_back({value, "<" + std::to_string(count) + RandomText(random, "xyz", 20) + ">"});
    }
    const Set set = SetOf(secrets);
    std::string text;
    while (text.size() < 150) {
      const std::string rendered =
          RandomRendering(random, secrets[random() % secrets.size()].value);
      const size_t at = random() % rendered.size();
      switch (random() % 5) {
        case 0:
          text += rendered.substr(0, at);
          break;
        case 1:
          text += rendered.substr(at);
          break;
        case 2:
          text += RandomText(random, alphabet, random() % 4);
          break;
        default:
          text += rendered;
      }
    }
    const std::string expected = NaiveScrub(secrets, text);
    CAPTURE(round, text);
    REQUIRE(Whole(set, text) == expected);
    std::vector<size_t> cuts;
    for (size_t at = random() % 40; at < text.size(); at += 1 + random() % 40) cuts.push_back(at);
    REQUIRE(Streamed(set, text, cuts) == expected);
    REQUIRE(ByteByByte(set, text) == expected);
  }
}

TEST_CASE("many values are found beside each other") {
  std::mt19937 random(3);
  Secrets secrets;
  std::string text;
  std::string expected;
  for (int i = 0; i < 200; ++i) {
    secrets.push_back(
        {RandomText(random, "abcdefghijklmnopqrstuvwxyz0123456789", 20 + random() % 30),
         "<" + std::to_string(i) + ">"});
    text += secrets.back().value + "\n";
    expected += secrets.back().placeholder + "\n";
  }
  const Set set = SetOf(secrets);
  CHECK(Whole(set, text) == expected);
  CHECK(Streamed(set, text, {100, 1000, 1001, 2000}) == expected);
}

TEST_CASE("a value as long as a secret may be is found in pieces") {
  std::mt19937 random(5);
  const std::string value =
      RandomText(random, "abcdefghijklmnopqrstuvwxyz0123456789+/=", 64 * 1024);
  const Set set = SetOf({{value, "PLACEHOLDER"}});
  const std::string text = "<" + value + "><" + value.substr(0, 60000) + ">" + value;
  std::vector<size_t> cuts;
  for (size_t at = 1000; at < text.size(); at += 5000) cuts.push_back(at);
  CHECK(Streamed(set, text, cuts) == "<PLACEHOLDER><" + value.substr(0, 60000) + ">PLACEHOLDER");
  const std::string base64 = NaiveBase64("u:" + value);
  const std::string scrubbed = Whole(set, base64);
  CHECK(scrubbed.size() == base64.size());
  CHECK(scrubbed.find(base64.substr(1000, 20)) == std::string::npos);
}

TEST_CASE("no form of a value is in what base64 becomes, and it has the same length") {
  const Set set = SetOf({{"correct horse battery", "xy"},
                         {"staple-staple", "a placeholder that is longer than that"}});
  for (const char* value : {"correct horse battery", "staple-staple"}) {
    for (size_t before = 0; before < 6; ++before) {
      for (size_t after = 0; after < 4; ++after) {
        const std::string plain = std::string(before, '<') + value + std::string(after, '>');
        const std::string text = NaiveBase64(plain);
        const std::string scrubbed = Whole(set, text);
        CAPTURE(plain, scrubbed);
        CHECK(scrubbed.size() == text.size());
        CHECK(scrubbed != text);
        size_t same = 0;
        for (size_t i = 0; i < text.size(); ++i) same += text[i] == scrubbed[i] ? 1 : 0;
        CHECK(same <= 2 + (before * 8 + 5) / 6 + (after * 8 + 5) / 6 + 3 + text.size() / 6);
      }
    }
  }
}

TEST_CASE("fields are scrubbed, and one that is named by a value goes") {
  const Set set = SetOf({{"s3cret/value", "PLACEHOLDER"}});
  Headers fields;
  fields.Add("Location", "https://example.com/?token=s3cret%2Fvalue&x=1");
  fields.Add("Set-Cookie", "t=s3cret/value; Path=/");
  fields.Add("X-Debug", "Basic " + NaiveBase64("u:s3cret/value"));
  fields.Add("X-s3cret%2fvalue", "1");
  fields.Add("Date", "today");
  CHECK(ScrubFields(*set, fields));
  REQUIRE(fields.fields().size() == 4);
  CHECK(*fields.Find("location") == "https://example.com/?token=PLACEHOLDER&x=1");
  CHECK(*fields.Find("set-cookie") == "t=PLACEHOLDER; Path=/");
  CHECK(fields.Find("x-debug")->size() == std::string("Basic dTpzM2NyZXQvdmFsdWU=").size());
  CHECK(fields.Find("x-debug")->find("M2NyZXQvdmFsdW") == std::string::npos);
  CHECK(*fields.Find("date") == "today");
  CHECK_FALSE(ScrubFields(*set, fields));
}

}  // namespace
}  // namespace sallyport::secrets
