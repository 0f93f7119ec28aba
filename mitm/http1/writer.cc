#include "mitm/http1/writer.h"

#include <charconv>

namespace sallyport::mitm::http1 {
namespace {

constexpr std::string_view kLineEnd = "\r\n";

void AppendNumber(uint64_t number, std::string& out) {
  char digits[20];
  const auto result = std::to_chars(digits, digits + sizeof digits, number);
  out.append(digits, result.ptr);
}

void AppendFields(const Headers& headers, std::string& out) {
  for (const HeaderField& field : headers.fields()) {
    out.append(field.name).append(": ").append(field.value).append(kLineEnd);
  }
}

void AppendLength(uint64_t length, std::string& out) {
  out.append("Content-Length: ");
  AppendNumber(length, out);
  out.append(kLineEnd);
}

}  // namespace

void AppendRequestHead(const RequestHead& request, std::string_view host, BodyLength body,
                       std::string& out) {
  out.append(request.method).append(" ").append(request.path);
  if (request.query) out.append("?").append(*request.query);
  out.append(" HTTP/1.1\r\nHost: ").append(host).append(kLineEnd);
  AppendFields(request.headers, out);
  if (request.headers.Find("te") != nullptr) out.append("Connection: TE\r\n");
  if (request.headers.Find("upgrade") != nullptr) out.append("Connection: Upgrade\r\n");
  if (body.kind == BodyLength::Kind::kKnown) AppendLength(body.bytes, out);
  if (body.kind == BodyLength::Kind::kUnknown) out.append("Transfer-Encoding: chunked\r\n");
  out.append(kLineEnd);
}

void AppendResponseHead(const ResponseHead& response, BodyLength body, Delimiter delimiter,
                        Connection connection, std::string& out) {
  out.append("HTTP/1.1 ");
  AppendNumber(static_cast<uint64_t>(response.status), out);
  out.append(" ").append(response.reason).append(kLineEnd);
  AppendFields(response.headers, out);
  if (body.kind == BodyLength::Kind::kKnown) AppendLength(body.bytes, out);
  if (body.kind == BodyLength::Kind::kUnknown && delimiter == Delimiter::kChunked) {
    out.append("Transfer-Encoding: chunked\r\n");
  }
  if (response.status == 101) {
    out.append("Connection: Upgrade\r\nUpgrade: websocket\r\n");
  } else if (connection == Connection::kClose) {
    out.append("Connection: close\r\n");
  }
  out.append(kLineEnd);
}

std::string_view ChunkStart(size_t size, char (&buffer)[20]) {
  char* end = std::to_chars(buffer, buffer + 16, size, 16).ptr;
  *end++ = '\r';
  *end++ = '\n';
  return {buffer, static_cast<size_t>(end - buffer)};
}

void AppendLastChunk(const Headers& trailers, std::string& out) {
  out.append("0\r\n");
  AppendFields(trailers, out);
  out.append(kLineEnd);
}

}  // namespace sallyport::mitm::http1
