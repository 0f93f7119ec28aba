#pragma once

#include <cstddef>
#include <functional>
#include <string_view>

#include "base/loop.h"
#include "base/unique_fd.h"

namespace sallyport::guest {

/// Reads what a program writes, as much as may be sent on.
class OutputReader {
 public:
  struct Events {
    std::function<size_t()> allowed;  ///< Bytes that may be read now.
    std::function<void(std::string_view)> on_data;
    std::function<void()> on_end;      ///< Nobody has the other end open any more.
    std::function<void()> on_drained;  ///< After Drain(): its goal is reached.
  };

  OutputReader(Loop& loop, UniqueFd fd, Events events);
  OutputReader(const OutputReader&) = delete;
  OutputReader& operator=(const OutputReader&) = delete;

  /// Starts or resumes reading if `allowed`, else stops. To be called when that changes.
  void Update();

  /// The program is gone: reads what it left behind. on_drained tells when that is done, though
  /// another process may hold the other end open and write on; on_end does so instead if none does.
  void Drain();

  bool open() const { return fd_.valid(); }
  bool drained() const { return drained_ || !open(); }

 private:
  enum class Read { kData, kNothing, kEnd };
  void OnReady();
  void ReadLeftBehind();
  Read ReadOnce();
  void End();
  void SetDrained();

  Loop& loop_;
  UniqueFd fd_;
  Events events_;
  bool draining_ = false;
  bool drained_ = false;
  size_t drained_bytes_ = 0;
  Loop::Handle watch_;
};

}  // namespace sallyport::guest
