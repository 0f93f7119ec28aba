#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace sallyport::guest {

/// Writes the subset of CBOR (RFC 8949) that the protocol uses: integers, byte and text strings,
/// booleans, arrays and maps, all of definite length, in the shortest form.
class CborWriter {
 public:
  void Int(int64_t value);
  void Bool(bool value);
  void Bytes(std::string_view value);
  void Text(std::string_view value);  ///< Not checked for UTF-8: argv and env may be any bytes.
  void Array(size_t elements);
  void Map(size_t pairs);
  std::string Take() { return std::move(out_); }

 private:
  void Head(uint8_t major, uint64_t argument);
  std::string out_;
};

/// Reads what CborWriter writes, from hostile input: every read checks type and bounds, and Skip()
/// passes over one item of any supported type, at most kMaxDepth containers deep. A failed read is
/// kInvalid, and leaves the reader of no further use.
class CborReader {
 public:
  static constexpr int kMaxDepth = 4;
  explicit CborReader(std::string_view input) : rest_(input) {}

  Result<int64_t> Int();
  Result<bool> Bool();
  Result<std::string_view> Bytes();  ///< Points into the input.
  Result<std::string_view> Text();
  /// Number of elements or pairs; never more than the bytes that are left could hold.
  Result<size_t> Array();
  Result<size_t> Map();
  Status Skip();
  /// kInvalid unless all input was read.
  Status End() const;

 private:
  Result<uint64_t> Head(uint8_t major);
  Result<std::string_view> String(uint8_t major);
  Result<size_t> Count(uint8_t major, size_t least_bytes_each);
  Status SkipItem(int depth);
  Status SkipItems(const Result<size_t>& count, size_t items_each, int depth);
  template <class T>
  static Status Discard(const Result<T>& item);

  std::string_view rest_;
};

}  // namespace sallyport::guest
