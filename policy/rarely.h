#pragma once

#include <memory>

namespace sallyport::policy {

/// A T that few of many objects have: until it is edited, a null pointer stands for T().
template <class T>
class Rarely {
 public:
  Rarely() = default;
  Rarely(const Rarely& other) : value_(other.value_ ? std::make_unique<T>(*other.value_) : nullptr) {}
  Rarely(Rarely&&) noexcept = default;
  Rarely& operator=(Rarely other) noexcept {
    value_ = std::move(other.value_);
    return *this;
  }

  const T& operator*() const {
    static const T kDefault;
    return value_ ? *value_ : kDefault;
  }
  const T* operator->() const { return &**this; }
  T& Edit() {
    if (!value_) value_ = std::make_unique<T>();
    return *value_;
  }

 private:
  std::unique_ptr<T> value_;
};

}  // namespace sallyport::policy
