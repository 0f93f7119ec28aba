// Any bytes as a proxy's answer to CONNECT: the same whether they come at once or one by one, and
// what is told of them may stand in a message.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "runtime/dial/connect_reply.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using sallyport::runtime::ConnectReply;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  ConnectReply whole;
  const size_t taken = whole.Feed(bytes);
  SALLYPORT_CHECK(taken <= size && taken <= ConnectReply::kMaxHead + 1);
  SALLYPORT_CHECK(whole.state() != ConnectReply::State::kMore || taken == size);
  ConnectReply single;
  size_t count = 0;
  while (count < size && single.state() == ConnectReply::State::kMore) {
    count += single.Feed(bytes.substr(count, 1));
  }
  SALLYPORT_CHECK(count == taken && single.state() == whole.state());
  SALLYPORT_CHECK(single.schemes() == whole.schemes() && whole.schemes().size() <= 80);
  SALLYPORT_CHECK(std::all_of(whole.schemes().begin(), whole.schemes().end(),
                              [](char c) { return c >= 0x20 && c < 0x7f; }));
  if (whole.state() != ConnectReply::State::kHead) return 0;
  SALLYPORT_CHECK(single.status() == whole.status());
  SALLYPORT_CHECK(whole.status() == 101 || (whole.status() >= 200 && whole.status() < 600));
  SALLYPORT_CHECK(bytes.substr(0, taken).ends_with("\r\n\r\n"));
  return 0;
}
