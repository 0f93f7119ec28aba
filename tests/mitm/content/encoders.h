#pragma once

#include <brotli/encode.h>
#include <zlib.h>
#include <zstd.h>

#include <string>
#include <string_view>

#include "mitm/content/coding.h"

// Content codings as servers apply them, with the libraries' own encoders. FLUSH_AT > 0: as a
// server does that sends the first FLUSH_AT bytes before it has the others; the result is whole.

namespace sallyport::mitm::content {

/// WINDOW_BITS: 31 gzip, 15 zlib, -15 raw.
inline std::string ZlibEncode(std::string_view text, int window_bits, size_t flush_at = 0) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY);
  std::string out(text.size() + text.size() / 100 + 200, '\0');
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(flush_at);
  if (flush_at > 0) deflate(&stream, Z_SYNC_FLUSH);
  stream.avail_in = static_cast<uInt>(text.size() - flush_at);
  deflate(&stream, Z_FINISH);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  return out;
}

inline std::string BrotliEncode(std::string_view text, size_t flush_at = 0) {
  BrotliEncoderState* const state = BrotliEncoderCreateInstance(nullptr, nullptr, nullptr);
  BrotliEncoderSetParameter(state, BROTLI_PARAM_QUALITY, 5);
  std::string out(BrotliEncoderMaxCompressedSize(text.size()) + 200, '\0');
  auto* to = reinterpret_cast<uint8_t*>(out.data());
  size_t room = out.size();
  const auto* from = reinterpret_cast<const uint8_t*>(text.data());
  size_t size = flush_at;
  if (flush_at > 0) {
    BrotliEncoderCompressStream(state, BROTLI_OPERATION_FLUSH, &size, &from, &room, &to, nullptr);
  }
  size = text.size() - flush_at;
  BrotliEncoderCompressStream(state, BROTLI_OPERATION_FINISH, &size, &from, &room, &to, nullptr);
  out.resize(out.size() - room);
  BrotliEncoderDestroyInstance(state);
  return out;
}

inline std::string ZstdEncode(std::string_view text, size_t flush_at = 0, int window_log = 0) {
  ZSTD_CCtx* const context = ZSTD_createCCtx();
  if (window_log > 0) ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  std::string out(ZSTD_compressBound(text.size()) + 200, '\0');
  ZSTD_outBuffer to{out.data(), out.size(), 0};
  ZSTD_inBuffer from{text.data(), flush_at, 0};
  if (flush_at > 0) ZSTD_compressStream2(context, &to, &from, ZSTD_e_flush);
  from.size = text.size();
  while (ZSTD_compressStream2(context, &to, &from, ZSTD_e_end) != 0) {
  }
  out.resize(to.pos);
  ZSTD_freeCCtx(context);
  return out;
}

inline std::string Encode(Coding coding, std::string_view text, size_t flush_at = 0) {
  switch (coding) {
    case Coding::kGzip:
      return ZlibEncode(text, 31, flush_at);
    case Coding::kDeflate:
      return ZlibEncode(text, 15, flush_at);
    case Coding::kBrotli:
      return BrotliEncode(text, flush_at);
    case Coding::kZstd:
      break;
  }
  return ZstdEncode(text, flush_at);
}

}  // namespace sallyport::mitm::content
