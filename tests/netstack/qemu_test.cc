// A virtual machine's card on the other end of a socket link: QEMU, which interprets the machine where
// there is no KVM, runs Debian's kernel and busybox. Skipped without them:
//
//     apt-get install --no-install-recommends qemu-system-x86 busybox-static
//     apt-get download linux-image-6.1.0-…-cloud-amd64 && dpkg-deb -x linux-image-*.deb FOLDER
//     SALLYPORT_GUEST_KERNEL=FOLDER build/dev/tests/netstack/netstack_qemu_test

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "fixture.h"
#include "netstack/socket_link.h"
#include "tap_jobs.h"

namespace sallyport::netstack {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;

constexpr const char* kQemu = "/usr/bin/qemu-system-x86_64";
constexpr const char* kBusybox = "/bin/busybox";
// In the order in which they need each other.
constexpr const char* kModules[] = {
    "drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev", "drivers/virtio/virtio_pci", "net/core/failover",
    "drivers/net/net_failover", "drivers/net/virtio_net"};
constexpr size_t kBytes = 3'000'000;

// What the machine does, and says of it. busybox's nc sends the end of its input on.
constexpr const char* kInit = R"sh(#!/bin/sh
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod /modules/$module || echo "no $module"; done
ip link set lo up
echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad
ip link set eth0 up
udhcpc -i eth0 -n -q -t 30 -T 1 -s /dhcp >/dev/null 2>&1
cat /lease
echo "mtu $(cat /sys/class/net/eth0/mtu)"
ping -c 1 -W 5 -s 20000 10.0.2.2 >/dev/null && echo "ping ok"
head -c SIZE /dev/urandom > /sent
nc 192.0.2.80 80 < /sent > /received
cmp /sent /received && echo "tcp4 ok $(wc -c < /received)"
ip -6 addr add fd00:5a11::15/64 dev eth0
ip -6 route replace default via fd00:5a11::2
nc 2001:db8::80 80 < /sent > /received
cmp /sent /received && echo "tcp6 ok $(wc -c < /received)"
nc 192.0.2.80 81 < /dev/null 2>&1 | grep -q refused && echo "refused ok"
poweroff -f
)sh";
constexpr const char* kDhcp = R"sh(#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/24 dev eth0
ip route add default via $router
echo "dhcp $ip $router $dns" > /lease
)sh";

/// An archive as the kernel unpacks it for its first root (cpio, "newc").
class Archive {
 public:
  explicit Archive(const std::string& path) : out_(path, std::ios::binary) {}
  void Folder(const std::string& name) { Entry(name, 0040755, {}); }
  void File(const std::string& name, const std::string& content) {
    Entry(name, 0100755, content);
  }
  void Copy(const std::string& name, const fs::path& from) {
    std::ifstream in(from, std::ios::binary);
    REQUIRE(in);
    File(name, {std::istreambuf_iterator<char>(in), {}});
  }
  void Console() { Entry("dev/console", 0020600, {}, 5, 1); }
  void End() { Entry("TRAILER!!!", 0, {}); }

 private:
  void Entry(const std::string& name, unsigned mode, const std::string& content, unsigned major = 0,
             unsigned minor = 0) {
    char head[111];
    std::snprintf(head, sizeof head, "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x",
                  ++inode_, mode, 0, 0, 1, 0, content.size(), 0, 0, major, minor, name.size() + 1, 0);
    out_ << head << name << '\0';
    Pad(sizeof head - 1 + name.size() + 1);
    out_ << content;
    Pad(content.size());
  }
  void Pad(size_t size) { out_ << std::string((4 - size % 4) % 4, '\0'); }

  std::ofstream out_;
  unsigned inode_ = 0;
};

struct Kernel {
  fs::path image;
  fs::path modules;
};

std::optional<Kernel> FindKernel() {
  const char* given = std::getenv("SALLYPORT_GUEST_KERNEL");
  const fs::path root = given != nullptr ? given : "/";
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(root / "lib/modules", none)) {
    const Kernel kernel{root / ("boot/vmlinuz-" + entry.path().filename().string()),
                        entry.path() / "kernel"};
    if (access(kernel.image.c_str(), R_OK) == 0 &&
        fs::exists(kernel.modules / "drivers/net/virtio_net.ko")) {
      return kernel;
    }
  }
  return std::nullopt;
}

void WriteRoot(const std::string& path, const Kernel& kernel) {
  Archive archive(path);
  for (const char* folder : {"bin", "dev", "modules", "proc", "sys"}) archive.Folder(folder);
  archive.Console();
  archive.Copy("bin/busybox", kBusybox);
  std::string order;
  for (const std::string module : kModules) {
    const std::string name = fs::path(module).filename().string() + ".ko";
    archive.Copy("modules/" + name, kernel.modules / (module + ".ko"));
    order += name + "\n";
  }
  archive.File("modules/order", order);
  archive.File("dhcp", kDhcp);
  std::string steps(kInit);
  steps.replace(steps.find("SIZE"), 4, std::to_string(kBytes));
  archive.File("steps", steps);
  archive.File("init",
               "#!/bin/busybox sh\n/bin/busybox --install /bin\nmount -t sysfs sys /sys\n"
               "exec sh /steps\n");
  archive.End();
}

/// A machine whose card is the other end of a socket of TYPE, and what it says.
class Machine {
 public:
  Machine(const Kernel& kernel, int type, unsigned mtu) {
    std::string folder = (fs::temp_directory_path() / "sallyport-qemu-XXXXXX").string();
    REQUIRE(mkdtemp(folder.data()) != nullptr);
    folder_ = folder;
    WriteRoot(folder_ / "root", kernel);
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) == 0);
    const UniqueFd card(ends[1]);
    link = UniqueFd(ends[0]);
    pid = fork();
    if (pid == 0) Run(kernel, card.get(), type, mtu);
  }
  ~Machine() { fs::remove_all(folder_); }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  std::string Said() const {
    std::ifstream in(folder_ / "console");
    return {std::istreambuf_iterator<char>(in), {}};
  }

  UniqueFd link;
  pid_t pid = -1;

 private:
  [[noreturn]] void Run(const Kernel& kernel, int card, int type, unsigned mtu) const {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    fcntl(card, F_SETFD, 0);
    const std::string fd = std::to_string(card);
    const std::string network = type == SOCK_STREAM
                                    ? "stream,id=n,server=off,addr.type=fd,addr.str=" + fd
                                    : "dgram,id=n,local.type=fd,local.str=" + fd;
    const std::string device =
        "virtio-net-pci,netdev=n,mac=02:00:00:00:00:02,romfile=,host_mtu=" + std::to_string(mtu);
    const std::string root = folder_ / "root";
    const std::string console = "file:" + (folder_ / "console").string();
    execl(kQemu, kQemu, "-accel", "tcg", "-cpu", "max", "-m", "256", "-nodefaults",
          "-no-user-config", "-display", "none", "-no-reboot", "-serial", console.c_str(), "-kernel",
          kernel.image.c_str(), "-initrd", root.c_str(), "-append", "console=ttyS0 quiet panic=-1",
          "-netdev", network.c_str(), "-device", device.c_str(), nullptr);
    _exit(127);
  }

  fs::path folder_;
};

void RunMachine(int type, unsigned mtu) {
  const auto kernel = FindKernel();
  if (!kernel || access(kQemu, X_OK) != 0 || access(kBusybox, X_OK) != 0) {
    WARN("skipped: no QEMU, busybox or kernel for its guest");
    return;
  }
  Machine machine(*kernel, type, mtu);
  auto loop = Loop::Create();
  FakeDecider decider(**loop);
  std::vector<std::unique_ptr<Echo>> echoes;
  decider.answer = [&](const FlowInfo& flow) -> FlowVerdict {
    if (flow.destination.port != 80) return DenyFlow{DenyFlow::As::kRefused};
    return AcceptFlow{[&](std::unique_ptr<Stream> stream) {
      echoes.push_back(std::make_unique<Echo>(std::move(stream)));
    }};
  };
  auto link = MakeSocketLink(std::move(machine.link));
  REQUIRE(link);
  StackOptions options = TestOptions();
  options.configure_guest = true;
  options.mtu = mtu;
  auto stack = Stack::Create(**loop, std::move(*link), decider, options);
  REQUIRE(stack);
  CHECK(WaitForGuest(**loop, machine.pid) == 0);
  const std::string said = machine.Said();
  INFO(said);
  CHECK(said.find("dhcp 10.0.2.15 10.0.2.2 10.0.2.2") != said.npos);
  CHECK(said.find("mtu " + std::to_string(mtu)) != said.npos);
  const std::string size = std::to_string(kBytes);
  for (const std::string& step : {"ping ok"s, "tcp4 ok " + size, "tcp6 ok " + size, "refused ok"s}) {
    INFO(step);
    CHECK(said.find(step) != said.npos);
  }
}

TEST_CASE("a virtual machine's card over datagrams, of the largest packets") {
  RunMachine(SOCK_DGRAM, 65520);
}

TEST_CASE("a virtual machine's card over a byte stream, of Ethernet's packets") {
  RunMachine(SOCK_STREAM, 1500);
}

}  // namespace
}  // namespace sallyport::netstack
