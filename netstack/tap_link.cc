#include "netstack/tap_link.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <utility>

#include "netstack/vnet_header.h"
#include "netstack/vnet_offload.h"

namespace sallyport::netstack {
namespace {

class TapLink final : public Link {
 public:
  explicit TapLink(UniqueFd tap) : tap_(std::move(tap)) {}

  bool has_offload() const override { return true; }

  Result<Loop::Handle> Watch(Loop& loop, std::function<void()> on_readable) override {
    return loop.Watch(tap_.get(), EPOLLIN, [call = std::move(on_readable)](uint32_t) { call(); });
  }

  Received Read(std::span<uint8_t> buffer) override;
  bool Write(std::span<iovec> parts, const Offload& offload) override;

 private:
  UniqueFd tap_;
};

Link::Received TapLink::Read(std::span<uint8_t> buffer) {
  VnetHeader header;
  iovec parts[] = {{&header, sizeof header}, {buffer.data(), buffer.size()}};
  const ssize_t got = readv(tap_.get(), parts, 2);
  if (got < 0) {
    const bool again = errno == EAGAIN || errno == EINTR;
    return {.kind = again ? Received::Kind::kNothing : Received::Kind::kGone};
  }
  if (got < static_cast<ssize_t>(sizeof header)) return {};
  return {.kind = Received::Kind::kFrame,
          .length = static_cast<size_t>(got) - sizeof header,
          .checksum_trusted = ChecksumTrusted(header)};
}

bool TapLink::Write(std::span<iovec> parts, const Offload& offload) {
  VnetHeader header = ToVnetHeader(offload);
  parts[0] = {&header, sizeof header};
  return writev(tap_.get(), parts.data(), static_cast<int>(parts.size())) >= 0;
}

}  // namespace

Result<std::unique_ptr<Link>> MakeTapLink(UniqueFd tap) {
  ifreq request{};
  if (ioctl(tap.get(), TUNGETIFF, &request) != 0) {
    return tl::unexpected(Error::FromErrno("TUNGETIFF"));
  }
  const int wanted = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if ((request.ifr_flags & wanted) != wanted) {
    return Fail(Code::kInvalid, "the TAP must be opened with IFF_NO_PI and IFF_VNET_HDR");
  }
  int header_size = sizeof(VnetHeader);
  if (ioctl(tap.get(), TUNSETVNETHDRSZ, &header_size) != 0) {
    return tl::unexpected(Error::FromErrno("TUNSETVNETHDRSZ"));
  }
  const int flags = fcntl(tap.get(), F_GETFL);
  if (flags < 0 || fcntl(tap.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return tl::unexpected(Error::FromErrno("fcntl"));
  }
  return std::unique_ptr<Link>(new TapLink(std::move(tap)));
}

}  // namespace sallyport::netstack
