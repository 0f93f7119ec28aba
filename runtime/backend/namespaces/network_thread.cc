#include "runtime/backend/namespaces/network_thread.h"

#include <fcntl.h>
#include <sched.h>

#include <cerrno>
#include <utility>

#include "runtime/backend/namespaces/network.h"

namespace sallyport::runtime {

Status NetworkThread::Start() {
  proc_ = UniqueFd(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!proc_.valid()) return tl::unexpected(Error::FromErrno("/proc"));
  if (options_.link != NamespaceOptions::Link::kPacket) {
    const std::string folder = options_.tun_node.substr(0, options_.tun_node.rfind('/') + 1);
    // Where it is missing, so is the node.
    tun_folder_ = UniqueFd(open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  const auto run = [](void* self) -> void* {
    auto* network = static_cast<NetworkThread*>(self);
    network->done_ = network->Make();
    return nullptr;
  };
  errno = pthread_create(&thread_, nullptr, run, this);
  if (errno != 0) return tl::unexpected(Error::FromErrno("a thread"));
  return {};
}

Status NetworkThread::Join() {
  errno = pthread_join(thread_, nullptr);
  if (errno != 0) return tl::unexpected(Error::FromErrno("a thread"));
  if (!done_) return std::move(done_);
  if (setns(namespace_.get(), CLONE_NEWNET) != 0) {
    return tl::unexpected(Error::FromErrno("entering the network namespace"));
  }
  return {};
}

Status NetworkThread::Make() {
  if (unshare(CLONE_NEWNET) != 0) {
    return tl::unexpected(Error::FromErrno("creating the network namespace"));
  }
  namespace_ = UniqueFd(openat(proc_.get(), "thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!namespace_.valid()) return tl::unexpected(Error::FromErrno("the network namespace"));
  auto tun = OpenTun();
  const auto wanted = wanted_();
  if (!wanted) return tl::unexpected(wanted.error());
  if (!*wanted) return ConfigureLoopback();
  if (!tun) return tun;
  auto made = MakeLink();
  if (!made) return made;
  return ConfigureGuestNetwork(EnableIpv6(proc_.get()));
}

/// Without a node there is the packet link, unless a TAP was asked for.
Status NetworkThread::OpenTun() {
  if (options_.link == NamespaceOptions::Link::kPacket) return {};
  const size_t name = options_.tun_node.rfind('/') + 1;
  auto tun = OpenTunNode(tun_folder_.get(), options_.tun_node.substr(name));
  if (tun) tun_ = std::move(*tun);
  if (tun || options_.link != NamespaceOptions::Link::kTap) return {};
  return Fail(Code::kUnsupported, options_.tun_node.substr(0, name) + tun.error().message() +
                                      "; make the node readable, or use the packet link");
}

Status NetworkThread::MakeLink() {
  if (!tun_.valid()) {
    auto made = MakePacketLink(proc_.get());
    if (!made) return tl::unexpected(std::move(made).error());
    link_ = std::move(*made);
    link_kind_ = LinkKind::kPacket;
    return {};
  }
  auto made = MakeTap(tun_.get());
  if (!made) return made;
  link_ = std::move(tun_);
  link_kind_ = LinkKind::kTap;
  return {};
}

}  // namespace sallyport::runtime
