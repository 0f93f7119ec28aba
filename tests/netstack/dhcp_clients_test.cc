// Programs that configure an interface, on the other end of a TAP device: they must take what the
// stack tells them, and the addresses that they get must work.

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <string>

#include "fixture.h"
#include "netstack/tap_link.h"
#include "tap_guest.h"
#include "tap_jobs.h"
#include "tests/support/folder.h"

namespace sallyport::netstack {
namespace {

namespace fs = std::filesystem;

/// A folder for a client's files; its SCRIPT is what the client calls with its news.
struct Folder : testing::Folder {
  explicit Folder(const std::string& script) {
    fs::permissions(Write("script", "#!/bin/sh\n" + script), fs::perms::owner_all);
  }
  std::string script() const { return *this / "script"; }
};

bool Installed(const char* program) {
  for (const char* folder : {"/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/"}) {
    if (access((std::string(folder) + program).c_str(), X_OK) == 0) return true;
  }
  WARN("skipped: " << program << " is not installed");
  return false;
}

/// Runs the shell's COMMAND, which ends with this process. Only for guests.
int Run(const std::string& command) {
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int nothing = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; ++fd) dup2(nothing, fd);
    execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    _exit(127);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/// Runs JOB in a guest whose interface is up and has no address, and returns its exit status.
int RunUnconfigured(const std::function<int()>& job) {
  auto guest = StartTapGuest(GuestLink::kTap, job, GuestSetup::kAsks);
  if (!guest) {
    WARN("skipped: " << guest.error().message());
    return -2;
  }
  auto loop = Loop::Create();
  FakeDecider decider(**loop);
  Parrot parrot;
  decider.answer = [&](const FlowInfo& flow) -> FlowVerdict {
    if (flow.destination.port == 53) return ServeFlow{&parrot};
    return DenyFlow{};
  };
  auto link = MakeTapLink(std::move(guest->link));
  REQUIRE(link);
  StackOptions options = TestOptions();
  options.configure_guest = true;
  auto stack = Stack::Create(**loop, std::move(*link), decider, options);
  REQUIRE(stack);
  return WaitForGuest(**loop, guest->pid);
}

constexpr const char* kUseV4 =
    "ip addr add $address/24 dev eth0 && ip route add default via $router dev eth0\n";

TEST_CASE("udhcpc gets the guest's address, router and resolver, and they work") {
  if (!Installed("udhcpc")) return;
  const Folder folder(std::string("[ \"$1\" = bound ] || exit 0\naddress=$ip\n") +
                      "echo $ip $subnet $router $dns > $0.bound\n" + kUseV4);
  const int status = RunUnconfigured([&] {
    const int got = Run("exec udhcpc -f -q -n -t 30 -T 1 -i eth0 -s " + folder.script());
    return got != 0 ? got : AskOverUdp(Ip::kV4, 100);
  });
  if (status == -2) return;
  CHECK(status == 0);
  CHECK(folder.Read("script.bound") == "10.0.2.15 255.255.255.0 10.0.2.2 10.0.2.2\n");
}

// dhclient stays, to renew: its script ends it.
TEST_CASE("dhclient gets the guest's IPv4 address, router and resolver, and they work") {
  if (!Installed("dhclient")) return;
  const Folder folder(
      "[ \"$reason\" = BOUND ] || exit 0\naddress=$new_ip_address router=$new_routers\n"
      "echo $new_ip_address $new_subnet_mask $new_routers $new_domain_name_servers > $0.bound\n" +
      std::string(kUseV4) + "kill -TERM $PPID\n");
  const int status = RunUnconfigured([&] {
    Run("exec dhclient -4 -d -1 --no-pid -lf " + (folder / "leases") + " -sf " + folder.script() +
        " eth0");
    return AskOverUdp(Ip::kV4, 100);
  });
  if (status == -2) return;
  CHECK(status == 0);
  CHECK(folder.Read("script.bound") == "10.0.2.15 255.255.255.0 10.0.2.2 10.0.2.2\n");
}

// The route is the advertisement's, which says to ask for an address. The kernel makes none of its
// own, and does not wait for another that might have the same. It sends from a new address before
// it takes what is sent to it: the script waits for that.
TEST_CASE("dhclient gets the guest's IPv6 address and resolver, and they work") {
  if (!Installed("dhclient")) return;
  const Folder folder(
      "[ \"$reason\" = BOUND6 ] || exit 0\n"
      "echo $new_ip6_address $new_dhcp6_name_servers > $0.bound\n"
      "ip -6 addr add $new_ip6_address/128 dev eth0 nodad\n"
      "until ip -6 route show table local | grep -q \"^local $new_ip6_address \"; do :; done\n"
      "kill -TERM $PPID\n");
  const int status = RunUnconfigured([&] {
    const int quiet =
        Run("ip link set eth0 down && echo 0 > /proc/sys/net/ipv6/conf/eth0/autoconf && "
            "echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad && ip link set lo up && "
            "ip link set eth0 up");
    if (quiet != 0) return 20;
    Run("exec dhclient -6 -d -1 --no-pid -lf " + (folder / "leases") + " -sf " + folder.script() +
        " eth0");
    return AskOverUdpOnceConfigured();
  });
  if (status == -2) return;
  CHECK(status == 0);
  CHECK(folder.Read("script.bound") == "fd00:5a11::15 fd00:5a11::2\n");
}

}  // namespace
}  // namespace sallyport::netstack
