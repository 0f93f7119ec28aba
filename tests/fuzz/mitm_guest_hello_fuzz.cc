// Any bytes as the beginning of a guest's TLS connection, up to and behind its ClientHello.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/check.h"
#include "mitm/authority.h"
#include "mitm/guest_tls.h"
#include "tests/fakes/memory_stream.h"

namespace {

using namespace sallyport;

struct Server {
  Server()
      : loop(std::move(*Loop::Create())),
        authority(std::move(*mitm::Authority::Create())),
        tls(std::move(*mitm::GuestTls::Create(*authority))) {}
  std::unique_ptr<Loop> loop;
  std::unique_ptr<mitm::Authority> authority;
  std::unique_ptr<mitm::GuestTls> tls;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Server server;
  mitm::GuestHello hello;
  hello.name = *HostName::Parse("api.test");
  auto ends = MemoryStream::Make(*server.loop, {.capacity = 1 << 20, .cut = 512});
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  ends.b->Write(bytes.substr(size > 0 ? 1 : 0));
  ends.b->CloseWrite();
  const auto stream =
      server.tls->Accept(*server.loop, std::move(ends.a), std::string(bytes.substr(0, 1)), hello);
  // All that will ever come is there: a handshake that waits would wait for ever.
  SALLYPORT_CHECK(stream->Handshake() != mitm::TlsStream::Phase::kHandshake);
  SALLYPORT_CHECK(!stream->failure().detail.empty());
  return 0;
}
