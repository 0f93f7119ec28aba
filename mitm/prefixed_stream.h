#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "base/loop.h"
#include "base/stream.h"

namespace sallyport::mitm {

/// A stream that brings PREFIX before what REST brings; in all else it is REST.
class PrefixedStream final : public Stream {
 public:
  PrefixedStream(Loop& loop, std::string prefix, std::unique_ptr<Stream> rest)
      : loop_(loop), prefix_(std::move(prefix)), rest_(std::move(rest)) {}

  void SetListener(Listener* listener) override {
    rest_->SetListener(listener);
    told_ = {};
    if (listener == nullptr || prefix_.empty()) return;
    told_ = loop_.Post([listener] { listener->OnStreamReady(); });
  }

  ReadResult Read(std::span<uint8_t> buffer) override {
    if (prefix_.empty()) return rest_->Read(buffer);
    const size_t size = std::min(buffer.size(), prefix_.size());
    std::memcpy(buffer.data(), prefix_.data(), size);
    prefix_.erase(0, size);
    return {ReadResult::Kind::kBytes, size};
  }

  size_t Room() override { return rest_->Room(); }
  size_t Write(std::string_view bytes) override { return rest_->Write(bytes); }
  void Flush() override { rest_->Flush(); }
  void CloseWrite() override { rest_->CloseWrite(); }
  void Abort() override { rest_->Abort(); }

 private:
  Loop& loop_;
  std::string prefix_;
  std::unique_ptr<Stream> rest_;
  Loop::Handle told_;
};

}  // namespace sallyport::mitm
