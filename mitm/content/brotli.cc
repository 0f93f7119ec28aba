#include <brotli/decode.h>

#include "mitm/content/decoder.h"

namespace sallyport::mitm::content {
namespace {

void* Allocate(void* memory, size_t size) noexcept {
  return static_cast<DecoderMemory*>(memory)->Allocate(size);
}

void Free(void* memory, void* block) noexcept {
  static_cast<DecoderMemory*>(memory)->Free(block);
}

class BrotliDecoder final : public CodingDecoder {
 public:
  explicit BrotliDecoder(DecoderMemory& memory)
      : state_(BrotliDecoderCreateInstance(Allocate, Free, &memory)) {}
  ~BrotliDecoder() override { BrotliDecoderDestroyInstance(state_); }

  Status Decode(std::string_view& input, size_t max, std::string& out) override {
    if (state_ == nullptr) return Fail(Code::kLimit, "no memory to decode with");
    if (ended_) {
      if (input.empty()) return {};
      return Fail(Code::kInvalid, "there are bytes behind its end");
    }
    begun_ |= !input.empty();
    const size_t begin = out.size();
    out.resize(begin + max);
    size_t in_left = input.size();
    const auto* in = reinterpret_cast<const uint8_t*>(input.data());
    size_t room = max;
    auto* to = reinterpret_cast<uint8_t*>(out.data() + begin);
    const BrotliDecoderResult result =
        BrotliDecoderDecompressStream(state_, &in_left, &in, &room, &to, nullptr);
    input.remove_prefix(input.size() - in_left);
    out.resize(out.size() - room);
    if (result == BROTLI_DECODER_RESULT_ERROR) return Failed();
    ended_ = result == BROTLI_DECODER_RESULT_SUCCESS;
    if (ended_ && !input.empty()) return Fail(Code::kInvalid, "there are bytes behind its end");
    return {};
  }

  bool complete() const override { return ended_ || !begun_; }

 private:
  Status Failed() const {
    // The codes of failed allocations lie together.
    const BrotliDecoderErrorCode code = BrotliDecoderGetErrorCode(state_);
    if (code <= BROTLI_DECODER_ERROR_ALLOC_CONTEXT_MODES &&
        code >= BROTLI_DECODER_ERROR_ALLOC_BLOCK_TYPE_TREES) {
      return Fail(Code::kLimit, "no memory to decode with");
    }
    return Fail(Code::kInvalid, "the data is damaged, or is something else");
  }

  BrotliDecoderState* const state_;
  bool begun_ = false;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<CodingDecoder> MakeBrotliDecoder(DecoderMemory& memory) {
  return std::make_unique<BrotliDecoder>(memory);
}

}  // namespace sallyport::mitm::content
