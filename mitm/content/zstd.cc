#define ZSTD_STATIC_LINKING_ONLY  // For a decoder with an allocator of ours.
#include <zstd.h>
#include <zstd_errors.h>

#include <cstring>

#include "mitm/content/decoder.h"
#include "mitm/limits.h"

// The library would also decode the formats from before RFC 8878, each with a decoder of its own
// that nobody needs: the first four bytes of each frame are checked before it sees them.

namespace sallyport::mitm::content {
namespace {

constexpr size_t kMagicSize = 4;

void* Allocate(void* memory, size_t size) noexcept {
  return static_cast<DecoderMemory*>(memory)->Allocate(size);
}

void Free(void* memory, void* block) noexcept {
  static_cast<DecoderMemory*>(memory)->Free(block);
}

class ZstdDecoder final : public CodingDecoder {
 public:
  explicit ZstdDecoder(DecoderMemory& memory)
      : context_(ZSTD_createDCtx_advanced({Allocate, Free, &memory})) {
    if (context_ != nullptr) {
      (void)ZSTD_DCtx_setParameter(context_, ZSTD_d_windowLogMax, kMaxZstdWindowLog);
    }
  }
  ~ZstdDecoder() override { ZSTD_freeDCtx(context_); }

  Status Decode(std::string_view& input, size_t max, std::string& out) override {
    if (context_ == nullptr) return Fail(Code::kLimit, "no memory to decode with");
    const size_t goal = out.size() + max;
    // The library counts calls that bring nothing, and fails at the sixteenth.
    while (!input.empty() || pending_) {
      if (!in_frame_) {
        Status begun = BeginFrame(input);
        if (!begun || !in_frame_) return begun;
      }
      if (Status run = Run(input, goal - out.size(), out); !run) return run;
      if (out.size() == goal) return {};
    }
    return {};
  }

  bool complete() const override { return !in_frame_ && magic_size_ == 0; }

 private:
  /// Gathers a frame's first bytes and gives them to the library.
  Status BeginFrame(std::string_view& input) {
    const size_t size = input.copy(magic_ + magic_size_, kMagicSize - magic_size_);
    input.remove_prefix(size);
    magic_size_ += size;
    if (magic_size_ < kMagicSize) return {};
    const auto byte = [this](size_t i) {
      return static_cast<uint32_t>(static_cast<unsigned char>(magic_[i]));
    };
    const uint32_t magic = byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24;
    if (magic != ZSTD_MAGICNUMBER &&
        (magic & ZSTD_MAGIC_SKIPPABLE_MASK) != ZSTD_MAGIC_SKIPPABLE_START) {
      return Fail(Code::kInvalid, "the data is damaged, or is something else");
    }
    magic_size_ = 0;
    in_frame_ = true;
    std::string_view rest(magic_, kMagicSize);
    std::string none;
    return Run(rest, 1, none);
  }

  Status Run(std::string_view& input, size_t max, std::string& out) {
    const size_t begin = out.size();
    out.resize(begin + max);
    ZSTD_inBuffer in{input.data(), input.size(), 0};
    ZSTD_outBuffer to{out.data() + begin, max, 0};
    const size_t result = ZSTD_decompressStream(context_, &to, &in);
    input.remove_prefix(in.pos);
    out.resize(begin + to.pos);
    if (ZSTD_isError(result) != 0) return Failed(ZSTD_getErrorCode(result));
    in_frame_ = result != 0;
    pending_ = in_frame_ && to.pos == max;
    return {};
  }

  static Status Failed(ZSTD_ErrorCode code) {
    if (code == ZSTD_error_memory_allocation) {
      return Fail(Code::kLimit, "no memory to decode with");
    }
    if (code == ZSTD_error_frameParameter_windowTooLarge) {
      return Fail(Code::kLimit, "a window of more than 8 MiB");
    }
    return Fail(Code::kInvalid, "the data is damaged, or is something else");
  }

  ZSTD_DCtx* const context_;
  char magic_[kMagicSize] = {};
  size_t magic_size_ = 0;
  bool in_frame_ = false;
  bool pending_ = false;  // There may be output without further input.
};

}  // namespace

std::unique_ptr<CodingDecoder> MakeZstdDecoder(DecoderMemory& memory) {
  return std::make_unique<ZstdDecoder>(memory);
}

}  // namespace sallyport::mitm::content
