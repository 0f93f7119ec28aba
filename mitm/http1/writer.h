#pragma once

#include <string>
#include <string_view>

#include "base/http_message.h"
#include "mitm/message.h"

namespace sallyport::mitm::http1 {

/// How a body is delimited on the wire.
enum class Delimiter {
  kLength,   ///< By Content-Length, or there is none.
  kChunked,  ///< By the chunked coding.
  kClose,    ///< By the end of the connection.
};

/// Appends REQUEST for HOST, the authority that was checked, to OUT. An unknown length is sent
/// chunked. The head's fields must be valid.
void AppendRequestHead(const RequestHead& request, std::string_view host, BodyLength body,
                       std::string& out);

enum class Connection { kKeepAlive, kClose };
/// Appends RESPONSE to OUT. DELIMITER says how a body of unknown length will be sent.
void AppendResponseHead(const ResponseHead& response, BodyLength body, Delimiter delimiter,
                        Connection connection, std::string& out);

/// What goes before a chunk of SIZE bytes; kChunkEnd goes behind it.
std::string_view ChunkStart(size_t size, char (&buffer)[20]);
constexpr std::string_view kChunkEnd = "\r\n";
/// The most that ChunkStart and kChunkEnd add.
constexpr size_t kChunkOverhead = 20;

/// Appends the last chunk and TRAILERS.
void AppendLastChunk(const Headers& trailers, std::string& out);

}  // namespace sallyport::mitm::http1
