#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "base/loop.h"
#include "base/stream.h"

namespace sallyport {

/// Two ends of a byte stream in memory. What one end writes, the other can read at once; its
/// listener is told from the loop.
class MemoryStream final : public Stream {
 public:
  struct Options {
    size_t capacity = 64 * 1024;  ///< Bytes under way in each direction.
    size_t cut = SIZE_MAX;        ///< The most that one Read() brings.
  };
  struct Pair;

  ~MemoryStream() override {
    if (!link_) return;
    if (!closed_) CloseWrite();
    if (peer() != nullptr) Tell(*peer());
    Slot() = nullptr;
  }

  void SetListener(Listener* listener) override {
    listener_ = listener;
    told_ = {};
    if (listener_ != nullptr) Tell(*this);
  }

  ReadResult Read(std::span<uint8_t> buffer) override {
    Direction& in = link_->directions[1 - side_];
    if (link_->broken) return {ReadResult::Kind::kBroken};
    if (in.bytes.empty()) {
      return {in.ended ? ReadResult::Kind::kEnd : ReadResult::Kind::kWouldBlock};
    }
    const size_t size = std::min({buffer.size(), in.bytes.size(), link_->options.cut});
    std::memcpy(buffer.data(), in.bytes.data(), size);
    in.bytes.erase(0, size);
    if (peer() != nullptr) Tell(*peer());
    return {ReadResult::Kind::kBytes, size};
  }

  size_t Room() override {
    if (closed_ || link_->broken) return 0;
    return link_->options.capacity - link_->directions[side_].bytes.size();
  }

  size_t Write(std::string_view bytes) override {
    const size_t size = std::min(bytes.size(), Room());
    if (size == 0) return 0;
    if (peer() == nullptr) return size;  // Delivered to nobody.
    link_->directions[side_].bytes.append(bytes.substr(0, size));
    Tell(*peer());
    return size;
  }

  void Flush() override {}

  void CloseWrite() override {
    closed_ = true;
    link_->directions[side_].ended = true;
    if (peer() != nullptr) Tell(*peer());
  }

  void Abort() override {
    link_->broken = true;
    if (peer() != nullptr) Tell(*peer());
  }

  static Pair Make(Loop& loop, Options options);

 private:
  struct Direction {
    std::string bytes;
    bool ended = false;
  };
  struct Link {
    Options options;
    MemoryStream* ends[2] = {};
    Direction directions[2];  // By the end that writes.
    bool broken = false;
  };

  MemoryStream(Loop& loop, std::shared_ptr<Link> link, int side)
      : loop_(loop), link_(std::move(link)), side_(side) {
    Slot() = this;
  }

  MemoryStream*& Slot() { return link_->ends[side_]; }
  MemoryStream* peer() { return link_->ends[1 - side_]; }

  static void Tell(MemoryStream& end) {
    if (end.listener_ == nullptr || end.told_) return;
    end.told_ = end.loop_.Post([&end] {
      end.told_ = {};
      if (end.listener_ != nullptr) end.listener_->OnStreamReady();
    });
  }

  Loop& loop_;
  std::shared_ptr<Link> link_;
  const int side_;
  bool closed_ = false;
  Listener* listener_ = nullptr;
  Loop::Handle told_;
};

struct MemoryStream::Pair {
  std::unique_ptr<Stream> a;
  std::unique_ptr<Stream> b;
};

inline MemoryStream::Pair MemoryStream::Make(Loop& loop, Options options) {
  auto link = std::make_shared<Link>();
  link->options = options;
  return {std::unique_ptr<Stream>(new MemoryStream(loop, link, 0)),
          std::unique_ptr<Stream>(new MemoryStream(loop, link, 1))};
}

}  // namespace sallyport
