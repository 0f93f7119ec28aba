#pragma once

#include <cstddef>
#include <cstdint>

namespace sallyport {

/// A fuzzer's input, taken byte by byte; zeros behind its end.
class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool empty() const { return size_ == 0; }
  uint8_t Next() {
    if (empty()) return 0;
    --size_;
    return *data_++;
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

}  // namespace sallyport
