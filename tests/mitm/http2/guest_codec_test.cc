#include "mitm/http2/guest_codec.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "mitm/limits.h"
#include "tests/mitm/http2/conversation.h"
#include "tests/mitm/http2/frames.h"

namespace sallyport::mitm::http2 {
namespace {

struct Case {
  std::string name;
  std::string bytes;  // Behind the preface.
  std::string text;   // What the conversation was.
};

std::string Bad(const std::string& error) {
  return "1:  400 " + error + "\n";
}

/// ASKING with one field in place of another.
Fields With(const std::string& name, const std::string& value) {
  Fields fields = Asking();
  for (auto& field : fields) {
    if (field.first == name) field.second = value;
  }
  return fields;
}

Fields Without(const std::string& name) {
  Fields fields = Asking();
  std::erase_if(fields, [&](const auto& field) { return field.first == name; });
  return fields;
}

/// Runs CASES whole, and cut at every STRIDE-th place.
void CheckAll(const std::vector<Case>& cases, size_t stride = 1) {
  for (const Case& one : cases) {
    INFO(one.name);
    const std::string bytes = Preface() + one.bytes;
    REQUIRE(Converse({bytes}) == one.text);
    ForEachCut(bytes, stride, [&](const std::vector<std::string_view>& pieces) {
      if (Converse(pieces) != one.text) {
        INFO("cut at " << pieces[0].size());
        REQUIRE(Converse(pieces) == one.text);
      }
    });
  }
}

constexpr const char* kGet = "GET https api.test / body:none";

TEST_CASE("requests are read as they are, for every way of cutting them") {
  const std::string get = std::string("1: ") + kGet;
  CheckAll({
      {"a request", Head(1, Asking({{"accept", "*/*"}})), get + " accept=*/*; end\n"},
      {"a query", Head(1, With(":path", "/a?b=c")), "1: GET https api.test /a?b=c body:none end\n"},
      {"OPTIONS *",
       Head(1, {{":method", "OPTIONS"},
                {":scheme", "https"},
                {":authority", "api.test"},
                {":path", "*"}}),
       "1: OPTIONS https api.test * body:none end\n"},
      {"two at once", Head(1, Asking(), 0) + Head(3, Asking()) + Data(1, "x", kEndStream),
       "1: GET https api.test / body:unknown end [x]\n3: GET https api.test / body:none end\n"},
      {"a body of known length",
       Head(1, Asking({{"content-length", "5"}}, "POST"), 0) + Data(1, "hel") +
           Data(1, "lo", kEndStream),
       "1: POST https api.test / body:5 end [hello]\n"},
      {"padding",
       Head(1, Asking({}, "POST"), 0) +
           Frame(kDataFrame, kPadded | kEndStream, 1, std::string("\x03hi\0\0\0", 6)),
       "1: POST https api.test / body:unknown end [hi]\n"},
      {"cookie crumbs",
       Head(1, Asking({{"cookie", "a=1"}, {"x", "y"}, {"cookie", "b=2"}, {"cookie", "c=3"}})),
       get + " cookie=a=1; b=2; c=3; x=y; end\n"},
      {"Host and no :authority",
       Head(1, {{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {"host", "api.test"}}),
       get + " end\n"},
      {"Host that is the :authority", Head(1, Asking({{"host", "API.test:443"}})), get + " end\n"},
      {"a credential for a proxy, which is the gate",
       Head(1, Asking({{"proxy-authorization", "Basic eDp5"}, {"x", "y"}})), get + " x=y; end\n"},
      {"TE of trailers", Head(1, Asking({{"te", "trailers"}})), get + " te=trailers; end\n"},
      {"an expectation",
       Head(1, Asking({{"expect", "100-continue"}}, "PUT"), 0) + Data(1, "x", kEndStream),
       "1: PUT https api.test / expects body:unknown end [x]\n"},
      {"trailers",
       Head(1, Asking({}, "POST"), 0) + Data(1, "x") + Head(1, {{"x-sum", "1"}}),
       "1: POST https api.test / body:unknown end [x]\n"},
      {"a head in CONTINUATION frames",
       Frame(kHeadersFrame, kEndStream, 1, Literals(Asking()).substr(0, 20)) +
           Frame(kContinuationFrame, 0, 1, Literals(Asking()).substr(20, 7)) +
           Frame(kContinuationFrame, kEndHeaders, 1, Literals(Asking()).substr(27)),
       get + " end\n"},
      {"CONNECT, for the exchange to refuse",
       Head(1, {{":method", "CONNECT"}, {":authority", "api.test:443"}}),
       "1: CONNECT https api.test:443 / body:none end\n"},
      {"an unknown frame", Frame(0x77, 0xff, 5, "whatever") + Head(1, Asking()), get + " end\n"},
  });
}

TEST_CASE("a malformed request is told what is wrong, and costs no other its connection") {
  const std::string pseudo_twice = Bad("a pseudo-header field that stands twice");
  const std::string pseudo_unknown = Bad("a pseudo-header field that no request has");
  const std::string characters = Bad("a field with characters that may not stand in it");
  const std::string name = Bad("a field name with characters that may not stand in it");
  const std::string connection = Bad("a field that belongs to HTTP/1 connections");
  const std::string target = Bad("a request target that is not a path");
  std::vector<Case> cases{
      {"no method", Head(1, Without(":method")), Bad("no method, or an unknown one")},
      {"no scheme", Head(1, Without(":scheme")), Bad("a scheme that is not this connection's")},
      {"no path", Head(1, Without(":path")), target},
      {"no authority", Head(1, Without(":authority")), Bad("neither :authority nor Host")},
      {"nothing at all", Head(1, {}), Bad("no method, or an unknown one")},
      {"another scheme", Head(1, With(":scheme", "http")),
       Bad("a scheme that is not this connection's")},
      {"a scheme in capitals", Head(1, With(":scheme", "HTTPS")),
       Bad("a scheme that is not this connection's")},
      {"an empty path", Head(1, With(":path", "")), target},
      {"a path without a slash", Head(1, With(":path", "a")), target},
      {"an absolute target", Head(1, With(":path", "https://api.test/")), target},
      {"a query without a path", Head(1, With(":path", "?a")), target},
      {"'*' with GET", Head(1, With(":path", "*")), Bad("a target '*' without OPTIONS")},
      {"a fragment", Head(1, With(":path", "/#a")),
       Bad("a request target with characters that may not stand in it")},
      {"a space in a target", Head(1, With(":path", "/a b")),
       Bad("a request target with characters that may not stand in it")},
      {"a request line in a target", Head(1, With(":path", "/ HTTP/1.1\r\nX: y")), characters},
      {"a method in small letters", Head(1, With(":method", "get")),
       Bad("no method, or an unknown one")},
      {"a method with a space", Head(1, With(":method", "GET /")),
       Bad("no method, or an unknown one")},
      {"the preface's method", Head(1, With(":method", "PRI")),
       Bad("no method, or an unknown one")},
      {"an authority that differs from Host", Head(1, Asking({{"host", "evil.test"}})),
       Bad("an :authority for another host than the Host field")},
      {"an authority that is empty beside Host",
       Head(1,
            [] {
              Fields fields = With(":authority", "");
              fields.push_back({"host", "api.test"});
              return fields;
            }()),
       Bad("an :authority for another host than the Host field")},
      {"two Hosts", Head(1, Asking({{"host", "api.test"}, {"host", "api.test"}})),
       Bad("more than one Host field")},
      {"a late pseudo-header",
       Head(1, {{":method", "GET"},
                {":scheme", "https"},
                {":path", "/"},
                {"x", "y"},
                {":authority", "api.test"}}),
       Bad("a pseudo-header field behind the others")},
      {"extended CONNECT",
       Head(1, {{":method", "CONNECT"},
                {":protocol", "websocket"},
                {":scheme", "https"},
                {":authority", "api.test"},
                {":path", "/"}}),
       pseudo_unknown},
      {"a response's pseudo-header", Head(1, {{":status", "200"}}), pseudo_unknown},
      {"a pseudo-header without a name", Head(1, {{":", "x"}}), pseudo_unknown},
      {"a capital in a name", Head(1, Asking({{"Accept", "x"}})), name},
      {"a colon in a name", Head(1, Asking({{"a:b", "x"}})), name},
      {"a space in a name", Head(1, Asking({{"a b", "x"}})), name},
      {"an empty name", Head(1, Asking({{"", "x"}})), name},
      {"a line end in a name", Head(1, Asking({{"a\r\nb", "x"}})), name},
      {"CR in a value", Head(1, Asking({{"a", "b\rc"}})), characters},
      {"LF in a value", Head(1, Asking({{"a", "b\nc: d"}})), characters},
      {"NUL in a value", Head(1, Asking({{"a", std::string("b\0c", 3)}})), characters},
      {"a space before a value", Head(1, Asking({{"a", " b"}})), characters},
      {"a tab behind a value", Head(1, Asking({{"a", "b\t"}})), characters},
      {"TE of gzip", Head(1, Asking({{"te", "gzip"}})),
       Bad("a TE field that says more than trailers")},
      {"TE of more", Head(1, Asking({{"te", "trailers, gzip"}})),
       Bad("a TE field that says more than trailers")},
      {"another expectation", Head(1, Asking({{"expect", "a-cake"}})),
       "1:  417 an expectation that is not 100-continue\n"},
      {"a length without a body", Head(1, Asking({{"content-length", "1"}})),
       Bad("a Content-Length, and no body")},
      {"two lengths", Head(1, Asking({{"content-length", "0"}, {"content-length", "0"}})),
       Bad("more than one Content-Length field")},
      {"a length with a sign", Head(1, Asking({{"content-length", "+0"}})),
       Bad("a Content-Length that is not one number")},
  };
  for (const char* twice : {":method", ":scheme", ":authority", ":path"}) {
    Fields fields = Asking();
    for (const auto& field : Asking()) {
      if (field.first == twice) fields.push_back(field);
    }
    cases.push_back({std::string("two of ") + twice, Head(1, fields), pseudo_twice});
  }
  for (const char* field :
       {"connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"}) {
    cases.push_back({field, Head(1, Asking({{field, "x"}})), connection});
  }
  for (const char* field : {"content_length", "transfer_encoding", "proxy_authorization",
                            "proxy_connection", "keep_alive"}) {
    cases.push_back({field, Head(1, Asking({{field, "4"}})),
                     Bad("a field that some servers read as one of framing or of the connection")});
  }
  for (Case& one : cases) {
    one.bytes += Head(3, Asking());
    one.text += std::string("3: ") + kGet + " end\n";
  }
  CheckAll(cases);
}

TEST_CASE("a body that is not what its head says is an error, never an end") {
  const auto head = [](const std::string& length) {
    return Head(1, Asking({{"content-length", length}}, "POST"), 0);
  };
  // How much of the body is read before the error depends on where the bytes are cut.
  const std::vector<Case> errors{
      {"too short", head("5") + Data(1, "hell", kEndStream),
       "400 less data than Content-Length says"},
      {"none at all", head("5") + Data(1, "", kEndStream),
       "400 less data than Content-Length says"},
      {"too short, with trailers", head("5") + Data(1, "x") + Head(1, {{"a", "b"}}),
       "400 less data than Content-Length says"},
      {"too long", head("5") + Data(1, "hello!", kEndStream),
       "400 more data than Content-Length says"},
      {"too long, later", head("5") + Data(1, "hello") + Data(1, "!"),
       "400 more data than Content-Length says"},
      {"a body where there is none", head("0") + Data(1, "x"),
       "400 more data than Content-Length says"},
      {"trailers with a pseudo-header", head("1") + Data(1, "x") + Head(1, {{":path", "/"}}),
       "400 a trailer field that may not stand there"},
      {"trailers with framing", head("1") + Data(1, "x") + Head(1, {{"content-length", "1"}}),
       "400 a trailer that is a field of framing or of the connection"},
      {"trailers with framing to some", head("1") + Data(1, "x") + Head(1, {{"trans_fer", "1"}, {"content_length", "1"}}),
       "400 a trailer that is a field of framing or of the connection"},
      {"trailers in capitals", head("1") + Data(1, "x") + Head(1, {{"X", "y"}}),
       "400 a trailer field that may not stand there"},
      {"trailers that don't end", head("5") + Data(1, "x") + Head(1, {{"x", "y"}}, 0),
       "400 a second head inside of a request"},
      {"trailers without end", head("5") + Data(1, "x") + Head(1, {{"x", std::string(9000, 'y')}}),
       "400 trailers larger than 8 KiB"},
  };
  for (const Case& one : errors) {
    INFO(one.name);
    ForEachCut(Preface() + one.bytes, one.bytes.size() > 1000 ? 97 : 1,
               [&](const std::vector<std::string_view>& pieces) {
                 const std::string text = Converse(pieces);
                 if (text.find(one.text) == std::string::npos) REQUIRE(text == one.text);
                 if (text.find(" end") != std::string::npos) REQUIRE(text == "no end");
               });
  }
}

TEST_CASE("heads that are too large are refused without being kept") {
  Fields many = Asking();
  for (int i = 0; i < 101; ++i) many.push_back({"a", "b"});
  CheckAll(
      {
          {"too many fields", Head(1, many), "1:  431 more than 100 fields in the head\n"},
          {"too many bytes",
           Frame(kHeadersFrame, kEndStream, 1, Literals(Asking({{"a", std::string(16000, 'x')}}))) +
               Repeated(Frame(kContinuationFrame, 0, 1, Literals({{"a", std::string(16000, 'x')}})),
                        4) +
               Frame(kContinuationFrame, kEndHeaders, 1, ""),
           "1:  431 the head is larger than 64 KiB\n"},
          {"too long a target",
           Frame(kHeadersFrame, kEndStream, 1,
                 Literals(With(":path", "/")).substr(0, 0) +
                     Literals(
                         {{":method", "GET"}, {":scheme", "https"}, {":authority", "api.test"}})) +
               Frame(kContinuationFrame, 0, 1,
                     Literals({{":path", "/" + std::string(16384, 'x')}}).substr(0, 10000)) +
               Frame(kContinuationFrame, kEndHeaders, 1,
                     Literals({{":path", "/" + std::string(16384, 'x')}}).substr(10000)),
           "1:  414 the request target is longer than 16 KiB\n"},
      },
      499);
}

/// What ends a connection: the GOAWAY that the guest reads, and our reason.
std::string Ended(const std::string& code, const std::string& detail) {
  return "goaway " + code + "\n" + detail + "\n";
}

TEST_CASE("bytes that are no HTTP/2 end the connection") {
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.1\r\nHost: api.test\r\n\r\n"), std::string(100, '\0'),
        std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\rX"), std::string("\x16\x03\x01")}) {
    INFO(bytes);
    ForEachCut(bytes, 1, [&](const std::vector<std::string_view>& pieces) {
      CHECK(Converse(pieces) == Ended("PROTOCOL_ERROR", "not the preface of HTTP/2"));
    });
  }
}

TEST_CASE("frames that break the protocol end the connection with its code") {
  const std::vector<Case> cases{
      {"DATA on stream 0", Data(0, "x"), "PROTOCOL_ERROR"},
      {"DATA on an idle stream", Data(1, "x"), "PROTOCOL_ERROR"},
      {"HEADERS on an even stream", Head(2, Asking()), "PROTOCOL_ERROR"},
      {"HEADERS on stream 0", Head(0, Asking()), "PROTOCOL_ERROR"},
      {"a frame that is too large", Frame(kDataFrame, 0, 1, std::string(16385, 'x')),
       "FRAME_SIZE_ERROR"},
      {"a PING of another size", Frame(kPingFrame, 0, 0, "1234567"), "FRAME_SIZE_ERROR"},
      {"SETTINGS of an odd size", Frame(kSettingsFrame, 0, 0, "12345"), "FRAME_SIZE_ERROR"},
      {"SETTINGS on a stream", Frame(kSettingsFrame, 0, 1, ""), "PROTOCOL_ERROR"},
      {"a window that is too large", OpenWindow(0, 0x7fffffff), "FLOW_CONTROL_ERROR"},
      {"a window opened by nothing", OpenWindow(0, 0), "PROTOCOL_ERROR"},
      {"padding beyond the frame", Head(1, Asking(), 0) + Frame(kDataFrame, kPadded, 1, "\x09x"),
       "PROTOCOL_ERROR"},
      {"a head inside a head", Frame(kHeadersFrame, 0, 1, Literals(Asking())) + Head(3, Asking()),
       "PROTOCOL_ERROR"},
      {"DATA inside a head", Frame(kHeadersFrame, 0, 1, Literals(Asking())) + Data(1, "x"),
       "PROTOCOL_ERROR"},
      {"CONTINUATION behind nothing", Frame(kContinuationFrame, kEndHeaders, 1, ""),
       "PROTOCOL_ERROR"},
      {"HPACK that points nowhere",
       Frame(kHeadersFrame, kEndStream | kEndHeaders, 1, "\xff\xff\xff\x7f"), "COMPRESSION_ERROR"},
      {"HPACK cut off",
       Frame(kHeadersFrame, kEndStream | kEndHeaders, 1,
             std::string("\x00\x05"
                         "ab",
                         4)),
       "COMPRESSION_ERROR"},
      {"a table larger than allowed",
       Frame(kHeadersFrame, kEndStream | kEndHeaders, 1, "\x3f\xff\xff\x7f"), "COMPRESSION_ERROR"},
      {"a promise to a server", Frame(kPushFrame, kEndHeaders, 1, Number32(2)), "PROTOCOL_ERROR"},
      {"RST_STREAM of an idle stream", Reset(1), "PROTOCOL_ERROR"},
      {"an acknowledgement of nothing", Repeated(Frame(kSettingsFrame, kAck, 0, ""), 2),
       "PROTOCOL_ERROR"},
  };
  for (const Case& one : cases) {
    INFO(one.name);
    const std::string bytes = Preface() + one.bytes;
    ForEachCut(bytes, bytes.size() > 1000 ? 97 : 1,
               [&](const std::vector<std::string_view>& pieces) {
                 const std::string text = Converse(pieces);
                 INFO("cut at " << pieces[0].size() << ": " << text);
                 if (text.find("goaway " + one.text + "\n") == std::string::npos) FAIL();
               });
  }
}

TEST_CASE("floods end the connection calmly") {
  const std::string calm = "ENHANCE_YOUR_CALM";
  std::string resets, bombs;
  for (uint32_t i = 0; i < 301; ++i) resets += Head(2 * i + 1, Asking(), 0) + Reset(2 * i + 1);
  const std::string entry(4000, 'x');
  const std::string bomb =
      Literals(Asking()) + Literals({{"a", entry}}, true) + std::string(80, '\xbe');
  const std::string open = Head(1, Asking({}, "POST"), 0);
  const std::vector<Case> cases{
      {"rapid reset", resets, "too many requests were cancelled (RST_STREAM)"},
      {"SETTINGS", Repeated(Frame(kSettingsFrame, 0, 0, Setting(4, 100)), 33),
       "too many SETTINGS frames"},
      {"PING", Repeated(Frame(kPingFrame, 0, 0, "12345678"), 101), "too many PING frames"},
      {"PRIORITY", Repeated(Frame(kPriorityFrame, 0, 9, Number32(3) + "\x10"), 201),
       "too many PRIORITY frames"},
      {"empty DATA", open + Repeated(Data(1, ""), 101), "too many frames without content"},
      {"padding", open + Repeated(Frame(kDataFrame, kPadded, 1, std::string("\x02\0\0", 3)), 101),
       "too many frames without content"},
      {"windows by the byte", open + Repeated(OpenWindow(1, 1), 2001),
       "too many WINDOW_UPDATE frames for what they let through"},
      {"CONTINUATION",
       Frame(kHeadersFrame, 0, 1, "") +
           Repeated(Frame(kContinuationFrame, 0, 1, std::string(1, '\x82')), 20),
       "too many CONTINUATION frames"},
      {"an HPACK bomb", Frame(kHeadersFrame, kEndStream | kEndHeaders, 1, bomb),
       "a head that is far too large once it is decoded"},
  };
  for (const Case& one : cases) {
    INFO(one.name);
    const std::string bytes = Preface() + one.bytes;
    ForEachCut(bytes, bytes.size() > 500 ? 61 : 1,
               [&](const std::vector<std::string_view>& pieces) {
                 const std::string text = Converse(pieces);
                 INFO("cut at " << pieces[0].size());
                 if (!text.ends_with(Ended(calm, one.text))) REQUIRE(text == Ended(calm, one.text));
               });
  }
}

TEST_CASE("a flood that takes its time is none") {
  Conversation conversation;
  conversation.Feed(Preface());
  for (int i = 0; i < 1000; ++i) {
    conversation.now += std::chrono::milliseconds(500);
    conversation.Feed(Frame(kPingFrame, 0, 0, "12345678") + Frame(kSettingsFrame, 0, 0, ""));
  }
  CHECK_FALSE(conversation.codec().fault());
}

TEST_CASE("more streams than are allowed are refused, then end the connection") {
  std::string heads;
  for (uint32_t i = 0; i <= kMaxStreams; ++i) heads += Head(2 * i + 1, Asking(), 0);
  SECTION("by a guest that may not know the limit yet") {
    CHECK(Converse({Preface(), heads}).find("reset 201 REFUSED_STREAM\n") != std::string::npos);
  }
  SECTION("by one that acknowledged it") {
    const std::string text = Converse({Preface() + Frame(kSettingsFrame, kAck, 0, ""), heads});
    CHECK(text.ends_with("request HEADERS: max concurrent streams exceeded\n"));
  }
}

TEST_CASE("a guest that asks and never reads is cut off") {
  // Heads of streams that are refused: each queues a reset.
  Conversation conversation;
  conversation.Feed(Preface());
  std::string heads;
  for (uint32_t i = 0; i < 2000; ++i) heads += Head(2 * i + 1, Asking(), 0);
  conversation.codec().Receive(heads, conversation.now);
  REQUIRE(conversation.codec().fault());
  CHECK(conversation.codec().fault()->code == NGHTTP2_ENHANCE_YOUR_CALM);
  CHECK(conversation.codec().fault()->detail == "too many frames wait for the client to read them");
}

TEST_CASE("an answer that comes before its request is complete is not followed by a reset at once") {
  const std::string head = Head(1, Asking({{"upgrade", "x"}}, "POST"), 0);
  const std::string answered = "1:  400 a field that belongs to HTTP/1 connections\n";
  CHECK(Converse({Preface(), head, Data(1, "x")}) == answered);
  SECTION("nor later, when the request ends") {
    CHECK(Converse({Preface(), head, Data(1, "x"), Data(1, "y", kEndStream)}) == answered);
  }
  SECTION("but by one when the client has used up a window that it got after the answer") {
    const std::string blocks = Repeated(Data(1, std::string(16384, 'x')), kStreamWindow / 16384);
    const auto opened = [](const Conversation& conversation) {
      return conversation.sent.find(OpenWindow(1, kStreamWindow));
    };
    const auto feed_nearly = [&blocks](Conversation& conversation) {
      conversation.Feed(std::string_view(blocks).substr(0, blocks.size() - 9 - 16384));
      conversation.Feed(Data(1, std::string(16383, 'x')));
    };
    Conversation conversation;
    conversation.Feed(Preface() + Frame(kSettingsFrame, kAck, 0, "") + head);
    feed_nearly(conversation);
    CHECK(opened(conversation) == std::string::npos);
    conversation.Feed(Data(1, "x"));
    CHECK(opened(conversation) != std::string::npos);
    feed_nearly(conversation);
    CHECK(conversation.Text() == answered);
    conversation.Feed(Data(1, "x"));
    CHECK(conversation.Text() == answered + "reset 1 NO_ERROR\n");
  }
  SECTION("even when its window was used up before the answer") {
    Conversation conversation;
    conversation.Feed(Preface() + Frame(kSettingsFrame, kAck, 0, "") + head +
                      Repeated(Data(1, std::string(16384, 'x')), kStreamWindow / 16384));
    CHECK(conversation.Text() == answered);
    CHECK(conversation.sent.find(OpenWindow(1, kStreamWindow)) != std::string::npos);
  }
  SECTION("and what it goes on sending uses up no other stream's window") {
    Conversation conversation;
    conversation.Feed(Preface() + Frame(kSettingsFrame, kAck, 0, ""));
    for (uint32_t id = 1; id < 41; id += 2) {
      conversation.Feed(Head(id, Asking({{"upgrade", "x"}}, "POST"), 0));
      conversation.Feed(Repeated(Data(id, std::string(16384, 'x')), kStreamWindow / 16384));
    }
    CHECK_FALSE(conversation.codec().fault());
  }
}

TEST_CASE("windows open only as bodies are read") {
  class Unreading final : public GuestCodec::Listener {
   public:
    void OnResume(GuestStream&) override {}
    void OnLingering(GuestStream&) override {}
    void OnClosed(GuestStream&) override {}
  } listener;
  GuestCodec codec("https", {}, listener);
  const auto send = [&codec] {
    std::string sent;
    for (std::string_view out = codec.Send(); !out.empty(); out = codec.Send()) sent.append(out);
    return sent;
  };
  codec.Receive(Preface() + Frame(kSettingsFrame, kAck, 0, "") + Head(1, Asking({}, "POST"), 0),
                {});
  CHECK(send().find(OpenWindow(0, kConnectionWindow - 65535)) != std::string::npos);
  codec.Receive(Repeated(Data(1, std::string(16384, 'x')), kStreamWindow / 16384), {});
  CHECK(send().empty());
  CHECK_FALSE(codec.fault());
  GuestStream* stream = codec.Find(1);
  REQUIRE(stream != nullptr);
  size_t read = 0;
  while (read < kStreamWindow / 2) {
    const MessageEvent event = stream->ReadBody(1000);
    REQUIRE(event.kind == MessageEvent::Kind::kBody);
    read += event.piece.size();
  }
  CHECK(send() == OpenWindow(1, static_cast<uint32_t>(read)));
  SECTION("what a stream leaves unread is given back to the connection") {
    codec.Receive(Reset(1), {});
    for (uint32_t id = 3; id < 9; id += 2) {
      codec.Receive(Head(id, Asking({}, "POST"), 0) +
                        Repeated(Data(id, std::string(16384, 'x')), 12) + Reset(id),
                    {});
    }
    CHECK(send().find(Frame(kWindowFrame, 0, 0, "").substr(3)) != std::string::npos);
  }
  SECTION("a byte beyond the window is an error of its stream") {
    codec.Receive(Repeated(Data(1, std::string(16384, 'x')), 9), {});
    CHECK(send() == Reset(1, NGHTTP2_FLOW_CONTROL_ERROR));
  }
}

}  // namespace
}  // namespace sallyport::mitm::http2
