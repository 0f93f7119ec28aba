#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guest/protocol/cbor.h"

namespace sallyport::guest {

/// Reads a fixed sequence of CBOR items and remembers the first failure, so that a message's fields
/// stand as a list. After a failure every item is empty; Finish() says what was wrong.
class CborSequence {
 public:
  explicit CborSequence(std::string_view bytes) : reader_(bytes) {}

  std::string Text() { return std::string(Take(reader_.Text())); }
  int64_t Int() { return Take(reader_.Int()); }
  bool Bool() { return Take(reader_.Bool()); }
  size_t Array() { return Take(reader_.Array()); }

  std::vector<std::string> Texts() {
    std::vector<std::string> texts;
    for (size_t left = Array(); left > 0 && status_; --left) texts.push_back(Text());
    return texts;
  }

  void Expect(size_t elements) {
    if (Array() != elements) Refuse("wrong number of fields");
  }
  /// For what the reader itself can't see to be wrong.
  void Refuse(std::string why) {
    if (status_) status_ = Fail(Code::kInvalid, std::move(why));
  }
  bool ok() const { return status_.has_value(); }

  /// kInvalid unless all input was read and nothing was wrong.
  Status Finish() {
    if (status_) status_ = reader_.End();
    return std::move(status_);
  }

 private:
  template <class T>
  T Take(Result<T> item) {
    if (item && status_) return *item;
    if (status_) status_ = tl::unexpected(std::move(item).error());
    return T{};
  }

  CborReader reader_;
  Status status_;
};

}  // namespace sallyport::guest
