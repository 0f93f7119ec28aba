#pragma once

#include <string>
#include <string_view>

namespace sallyport::runtime {

/// What a proxy says to CONNECT (RFC 9110, 9.3.6), taken out of bytes that arrive in pieces of any
/// size. Read strictly: lines end with CRLF, no control character, no folded field; interim answers
/// are passed over. Does no I/O.
class ConnectReply {
 public:
  enum class State {
    kMore,    ///< The head is not whole.
    kHead,    ///< It is: status() counts. What follows is not the proxy's.
    kBroken,  ///< It is no HTTP/1 head, or larger than kMaxHead.
  };

  /// Takes what belongs to the head from the beginning of BYTES, and says how much that is: all of
  /// it while the state is kMore.
  size_t Feed(std::string_view bytes);

  State state() const { return state_; }
  int status() const { return status_; }
  /// The schemes of its Proxy-Authenticate fields, as in "Negotiate, NTLM"; tokens only, and short.
  const std::string& schemes() const { return schemes_; }

  /// All interim answers included. Proxies say a few hundred bytes.
  static constexpr size_t kMaxHead = 16 * 1024;

 private:
  State TakeLine();
  bool TakeStatus();
  bool TakeField();

  State state_ = State::kMore;
  std::string line_;
  size_t size_ = 0;  // Of all lines so far.
  int status_ = 0;   // 0: the status line has not come.
  std::string schemes_;
};

}  // namespace sallyport::runtime
