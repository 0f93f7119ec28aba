#include <zlib.h>

#include <algorithm>
#include <climits>

#include "mitm/content/decoder.h"

// gzip and deflate, by zlib. An error of zlib's is never resumed from, and the checksums at the end
// of gzip and of zlib's format are verified.

namespace sallyport::mitm::content {
namespace {

void* Allocate(void* memory, uInt items, uInt size) noexcept {
  return static_cast<DecoderMemory*>(memory)->Allocate(size_t{items} * size);
}

void Free(void* memory, void* block) noexcept {
  static_cast<DecoderMemory*>(memory)->Free(block);
}

/// One inflater, begun with Start().
class Inflater {
 public:
  explicit Inflater(DecoderMemory& memory) {
    stream_.zalloc = Allocate;
    stream_.zfree = Free;
    stream_.opaque = &memory;
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() {
    if (started_) inflateEnd(&stream_);
  }

  bool started() const { return started_; }

  /// WINDOW_BITS as zlib reads them: they name the format, too. May be called again after the end.
  Status Start(int window_bits) {
    const int result = started_ ? inflateReset(&stream_) : inflateInit2(&stream_, window_bits);
    if (result != Z_OK) return Fail(Code::kLimit, "no memory to decode with");
    started_ = true;
    return {};
  }

  enum class Outcome { kFull, kNeedsInput, kEnd };
  /// Appends at most MAX bytes to OUT.
  Result<Outcome> Run(std::string_view& input, size_t max, std::string& out) {
    const size_t begin = out.size();
    out.resize(begin + max);
    // zlib takes the input as not const, and leaves it as it is.
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));
    stream_.avail_in = static_cast<uInt>(std::min<size_t>(input.size(), UINT_MAX));
    stream_.next_out = reinterpret_cast<Bytef*>(out.data() + begin);
    stream_.avail_out = static_cast<uInt>(max);
    const size_t offered = stream_.avail_in;
    const int result = inflate(&stream_, Z_NO_FLUSH);
    input.remove_prefix(offered - stream_.avail_in);
    out.resize(out.size() - stream_.avail_out);
    switch (result) {
      case Z_STREAM_END:
        return Outcome::kEnd;
      case Z_OK:
      case Z_BUF_ERROR:  // Nothing to do without more input, or more room.
        return stream_.avail_out == 0 ? Outcome::kFull : Outcome::kNeedsInput;
      case Z_MEM_ERROR:
        return Fail(Code::kLimit, "no memory to decode with");
      default:
        return Fail(Code::kInvalid, "the data is damaged, or is something else");
    }
  }

 private:
  z_stream stream_{};
  bool started_ = false;
};

class GzipDecoder final : public CodingDecoder {
 public:
  explicit GzipDecoder(DecoderMemory& memory) : inflater_(memory) {}

  Status Decode(std::string_view& input, size_t max, std::string& out) override {
    const size_t goal = out.size() + max;
    for (;;) {
      if (!in_member_) {
        if (input.empty()) return {};
        if (Status started = inflater_.Start(kGzipFormat); !started) return started;
        in_member_ = true;
      }
      const auto outcome = inflater_.Run(input, goal - out.size(), out);
      if (!outcome) return tl::unexpected(outcome.error());
      if (*outcome != Inflater::Outcome::kEnd) return {};
      in_member_ = false;
      if (out.size() == goal) return {};
    }
  }

  bool complete() const override { return !in_member_; }

 private:
  static constexpr int kGzipFormat = 16 + MAX_WBITS;

  Inflater inflater_;
  bool in_member_ = false;
};

class DeflateDecoder final : public CodingDecoder {
 public:
  explicit DeflateDecoder(DecoderMemory& memory) : inflater_(memory) {}

  Status Decode(std::string_view& input, size_t max, std::string& out) override {
    if (!inflater_.started()) {
      if (Status started = Start(input, out); !started) return started;
      if (!inflater_.started()) return {};
    }
    if (ended_ && input.empty()) return {};
    if (ended_) return Fail(Code::kInvalid, "there are bytes behind its end");
    const auto outcome = inflater_.Run(input, max, out);
    if (!outcome) return tl::unexpected(outcome.error());
    ended_ = *outcome == Inflater::Outcome::kEnd;
    if (ended_ && !input.empty()) return Fail(Code::kInvalid, "there are bytes behind its end");
    return {};
  }

  bool complete() const override { return ended_ || (!inflater_.started() && first_.empty()); }

 private:
  /// The first two bytes tell the formats apart: those of zlib's are a multiple of 31 and name the
  /// method 8, which as raw data would be a stored block with set padding bits.
  Status Start(std::string_view& input, std::string& out) {
    if (first_.empty() && !input.empty()) {
      first_ = input.substr(0, 1);
      input.remove_prefix(1);
    }
    if (input.empty()) return {};
    const auto method = static_cast<unsigned char>(first_[0]);
    const unsigned both = method * 256U + static_cast<unsigned char>(input[0]);
    const bool zlib_format = (method & 0x0f) == 8 && method >> 4 <= 7 && both % 31 == 0;
    if (Status started = inflater_.Start(zlib_format ? MAX_WBITS : -MAX_WBITS); !started) {
      return started;
    }
    // No code is as short as what raw data has left in its first byte: this makes no output.
    std::string_view first = first_;
    const auto outcome = inflater_.Run(first, 1, out);
    if (!outcome) return tl::unexpected(outcome.error());
    return {};
  }

  Inflater inflater_;
  std::string first_;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<CodingDecoder> MakeGzipDecoder(DecoderMemory& memory) {
  return std::make_unique<GzipDecoder>(memory);
}

std::unique_ptr<CodingDecoder> MakeDeflateDecoder(DecoderMemory& memory) {
  return std::make_unique<DeflateDecoder>(memory);
}

}  // namespace sallyport::mitm::content
