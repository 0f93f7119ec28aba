#pragma once

#include <cstring>
#include <string>
#include <string_view>

#include "base/block_pool.h"
#include "base/stream.h"
#include "mitm/limits.h"
#include "secrets/secret.h"

// What a codec keeps between a stream and its parser, and between its writer and a stream.

namespace sallyport::mitm {

/// The bytes that were read from a stream and not yet parsed: at most one block, which exists only
/// while it is needed.
class InputBuffer {
 public:
  /// BLOCKS outlives it. Begins with bytes that were read earlier.
  explicit InputBuffer(BlockPool& blocks, std::string_view already_read = {}) : blocks_(blocks) {
    if (already_read.empty()) return;
    block_ = blocks_.Take(kSize);
    const size_t size = already_read.copy(reinterpret_cast<char*>(block_.get()), kInputBlock);
    rest_ = {reinterpret_cast<const char*>(block_.get()), size};
  }

  /// What is left; a parser takes off what it has used.
  std::string_view& rest() { return rest_; }
  bool empty() const { return rest_.empty(); }

  /// Reads the next block. Only when empty; ends the life of every view into the last one.
  ReadResult::Kind Fill(Stream& stream) {
    if (!block_) block_ = blocks_.Take(kSize);
    const ReadResult result = stream.Read({block_.get(), kInputBlock});
    if (result.kind == ReadResult::Kind::kBytes) {
      rest_ = {reinterpret_cast<const char*>(block_.get()), result.bytes};
    }
    return result.kind;
  }

  /// Reads what fits behind what is left: to learn of a stream's end while nothing is parsed. Ends
  /// the life of every view into the block. kWouldBlock when the block is full, too.
  ReadResult::Kind FillMore(Stream& stream) {
    if (rest_.empty()) return Fill(stream);
    const size_t size = rest_.size();
    if (size == kInputBlock) return ReadResult::Kind::kWouldBlock;
    std::memmove(block_.get(), rest_.data(), size);
    const ReadResult result = stream.Read({block_.get() + size, kInputBlock - size});
    const size_t more = result.kind == ReadResult::Kind::kBytes ? result.bytes : 0;
    rest_ = {reinterpret_cast<const char*>(block_.get()), size + more};
    return result.kind;
  }

  /// Gives the block back if nothing is left in it.
  void Shrink() {
    if (rest_.empty()) block_.reset();
  }

 private:
  static constexpr BlockPool::Size kSize = BlockPool::Size::k16KiB;
  static_assert(BlockPool::BytesOf(kSize) == kInputBlock);

  BlockPool& blocks_;
  BlockPool::Block block_;
  std::string_view rest_;
};

/// What a stream has not taken yet. Heads are written without asking for room, so this holds at
/// most a head and a few bytes of framing beyond what Room() promised.
class OutputBuffer {
 public:
  explicit OutputBuffer(Stream& stream) : stream_(stream) {}
  ~OutputBuffer() { Wipe(); }

  void Write(std::string_view bytes) {
    if (Drain()) bytes.remove_prefix(stream_.Write(bytes));
    if (!bytes.empty()) Keep(bytes);
  }

  /// Hands over what is left; whether that was all.
  bool Drain() {
    if (rest_.empty()) return true;
    const size_t taken = stream_.Write(rest_);
    if (taken < rest_.size()) {
      rest_.erase(0, taken);
      return false;
    }
    Wipe();
    return true;
  }

  size_t Room() { return Drain() ? stream_.Room() : 0; }

 private:
  // A request's head may hold secrets, so no copy of it is left behind: not by a string that grows,
  // and not behind its end.
  void Keep(std::string_view bytes) {
    std::string larger;
    larger.reserve(rest_.size() + bytes.size());
    larger.append(rest_).append(bytes);
    Wipe();
    rest_.swap(larger);
  }
  void Wipe() {
    if (rest_.empty()) return;
    rest_.resize(rest_.capacity());
    secrets::WipeBytes(rest_.data(), rest_.size());
    std::string().swap(rest_);
  }

  Stream& stream_;
  std::string rest_;
};

/// A connection that has left HTTP, as bytes: what it brought, with what its codec read too far,
/// and what it takes. All are the codec's.
struct ByteChannel {
  InputBuffer* input;
  OutputBuffer* output;
  Stream* stream;
  bool* write_closed;  ///< Set by whoever calls the stream's CloseWrite().
};

}  // namespace sallyport::mitm
