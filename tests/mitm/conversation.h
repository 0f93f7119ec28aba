#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "mitm/http1/request_parser.h"
#include "mitm/http1/response_parser.h"

// What a parser made of some bytes, written down as text that tests compare.

namespace sallyport::mitm::http1 {

inline std::string Describe(const Headers& headers) {
  std::string text;
  for (const HeaderField& field : headers.fields()) {
    text += " " + field.name + "=" + field.value + ";";
  }
  return text;
}

inline std::string Describe(BodyLength body) {
  switch (body.kind) {
    case BodyLength::Kind::kNone:
      return "none";
    case BodyLength::Kind::kKnown:
      return std::to_string(body.bytes);
    case BodyLength::Kind::kUnknown:
      break;
  }
  return "unknown";
}

/// Adds pieces of one body to one line, as their borders mean nothing.
class Transcript {
 public:
  void Line(const std::string& text) {
    EndBody();
    text_ += text + "\n";
  }
  void Body(std::string_view piece) { body_.append(piece); }
  std::string Take() {
    EndBody();
    return text_;
  }

 private:
  void EndBody() {
    if (!body_.empty()) text_ += "body " + body_ + "\n";
    body_.clear();
  }
  std::string text_;
  std::string body_;
};

/// What the requests in PIECES are, one after the other.
inline std::string ReadRequests(const std::vector<std::string_view>& pieces,
                                size_t max_body = 1000) {
  RequestParser parser(RequestParser::Scheme::kHttps);
  Transcript transcript;
  for (std::string_view piece : pieces) {
    for (bool more = true; more;) {
      const MessageEvent event = parser.Next(piece, max_body);
      switch (event.kind) {
        case MessageEvent::Kind::kHead: {
          const Request& request = parser.request();
          transcript.Line(request.head.method + " " + request.head.scheme + " " +
                          request.head.authority + " " + request.head.Target() + " 1." +
                          std::to_string(parser.minor_version()) +
                          (parser.keep_alive() ? " keep" : " close") +
                          (request.expects_continue ? " expects" : "") +
                          " body:" + Describe(request.body) + Describe(request.head.headers));
          break;
        }
        case MessageEvent::Kind::kBody:
          transcript.Body(event.piece);
          break;
        case MessageEvent::Kind::kEnd:
          transcript.Line("end" + Describe(parser.trailers()));
          break;
        case MessageEvent::Kind::kError:
          transcript.Line(std::to_string(parser.error().status) + " " + parser.error().detail);
          return transcript.Take();
        default:
          more = false;
      }
    }
  }
  if (parser.in_head()) transcript.Line("in head");
  return transcript.Take();
}

/// What the responses in PIECES to requests with METHODS are; then the connection ends.
inline std::string ReadResponses(const std::vector<std::string_view>& pieces,
                                 std::vector<std::string> methods = {"GET"},
                                 size_t max_body = 1000) {
  ResponseParser parser;
  Transcript transcript;
  size_t next = 0;
  parser.Begin(methods[next++]);
  const auto on_end = [&] {
    transcript.Line(std::string(parser.keep_alive() ? "end keep" : "end close") +
                    Describe(parser.trailers()));
    if (next == methods.size()) return false;
    parser.Begin(methods[next++]);
    return true;
  };
  for (std::string_view piece : pieces) {
    for (bool more = true; more;) {
      const MessageEvent event = parser.Next(piece, max_body);
      switch (event.kind) {
        case MessageEvent::Kind::kHead:
          transcript.Line(std::to_string(parser.response().head.status) + " " +
                          parser.response().head.reason +
                          " body:" + Describe(parser.response().body) +
                          Describe(parser.response().head.headers));
          break;
        case MessageEvent::Kind::kBody:
          transcript.Body(event.piece);
          break;
        case MessageEvent::Kind::kEnd:
          if (!on_end()) return transcript.Take();
          break;
        case MessageEvent::Kind::kError:
          transcript.Line("error " + parser.error().detail);
          return transcript.Take();
        default:
          more = false;
      }
    }
  }
  if (parser.ConnectionEnded().kind == MessageEvent::Kind::kEnd) {
    on_end();
  } else {
    transcript.Line("cut off");
  }
  return transcript.Take();
}

/// Calls CHECK with every way of cutting BYTES in up to three pieces.
inline void ForEachCut(std::string_view bytes,
                       const std::function<void(const std::vector<std::string_view>&)>& check) {
  for (size_t i = 0; i <= bytes.size(); ++i) {
    for (size_t j = i; j <= bytes.size(); ++j) {
      check({bytes.substr(0, i), bytes.substr(i, j - i), bytes.substr(j)});
    }
  }
}

}  // namespace sallyport::mitm::http1
