// Any bytes as a ClientHello that decides whether a flow is passed through. The verdict is the same
// for every way of cutting the bytes.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "mitm/client_hello.h"

namespace {

using namespace sallyport::mitm;
using State = ClientHelloReader::State;

State FeedIn(ClientHelloReader& reader, std::string_view bytes, size_t piece) {
  State state = State::kIncomplete;
  for (size_t at = 0; at < bytes.size() && state == State::kIncomplete; at += piece) {
    state = reader.Feed(bytes.substr(at, piece));
  }
  return state;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  ClientHelloReader whole;
  ClientHelloReader pieces;
  const State state = FeedIn(whole, bytes, bytes.size());
  SALLYPORT_CHECK(FeedIn(pieces, bytes, 7) == state);
  if (state == State::kInvalid) SALLYPORT_CHECK(!whole.failure().empty());
  if (state != State::kComplete) return 0;
  SALLYPORT_CHECK(whole.names().sni == pieces.names().sni);
  SALLYPORT_CHECK(whole.names().has_sni == pieces.names().has_sni);
  SALLYPORT_CHECK(whole.names().encrypted == pieces.names().encrypted);
  SALLYPORT_CHECK(whole.names().has_sni || !whole.names().sni);
  return 0;
}
