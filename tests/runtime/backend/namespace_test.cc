// What a sandbox of the namespace backend is like from inside, for a launcher that is root and for
// one that is a plain user.

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "tests/runtime/backend/sandbox.h"

namespace sallyport::runtime {
namespace {

using namespace testing;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

/// Runs COMMAND in a sandbox made by WHO.
std::string Inside(Who who, const std::string& command) {
  return As(who, [&]() -> std::string {
    auto sandbox = Sandbox::Start(BasicSpec());
    return sandbox ? sandbox->Shell(command) : sandbox.error().message();
  });
}

/// Runs COMMAND in a sandbox of WHO that has MOUNTS.
std::string InsideWith(Who who, const std::vector<WorkloadSpec::Mount>& mounts,
                       const std::string& command, const std::vector<std::string>& masked = {}) {
  return As(who, [&]() -> std::string {
    WorkloadSpec spec = BasicSpec();
    spec.mounts = mounts;
    spec.masked = masked;
    auto sandbox = Sandbox::Start(spec);
    return sandbox ? sandbox->Shell(command) : sandbox.error().message();
  });
}

void Put(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
}

std::string Get(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A directory of the user that WHO is.
void Give(const std::string& path, Who who) {
  if (geteuid() != 0) return;
  const uid_t owner = who == Who::kUser ? kTestUser : 12345;
  REQUIRE(lchown(path.c_str(), owner, owner) == 0);
}

#define FOR_ROOT_AND_USER                           \
  const Who who = GENERATE(Who::kRoot, Who::kUser); \
  if (!CanStart(who)) return

TEST_CASE("the guest is root of its own ids and PID 1 is the agent") {
  FOR_ROOT_AND_USER;
  const std::string out = Inside(
      who, "id -u; cat /proc/self/uid_map; readlink /proc/self; ls /proc | grep -c '^[0-9]'");
  INFO(out);
  CHECK_THAT(out, StartsWith("0\n"));
  std::istringstream lines(out);
  unsigned long uid = 1, inside = 1, outside = 0, count = 0;
  lines >> uid >> inside >> outside >> count;
  CHECK(inside == 0);
  if (who == Who::kRoot) {
    CHECK(outside >= 0x70000000);
    CHECK(outside + count <= 0x7ffd0000);
    CHECK(count == 65536);
  } else {
    CHECK(outside == (geteuid() == 0 ? kTestUser : geteuid()));
    CHECK(count == 1);
  }
}

TEST_CASE("the host's tools are there and its private files are not") {
  FOR_ROOT_AND_USER;
  const std::string out = Inside(
      who,
      "for f in /usr/bin/env /bin/sh /etc/passwd /etc/resolv.conf /proc/self /dev/null /sys/class; "
      "do "
      "test -e $f || echo missing $f; done; "
      "for f in /etc/shadow /etc/shadow- /etc/gshadow /etc/ssh /etc/sudoers /etc/sudoers.d "
      "/etc/krb5.keytab /etc/machine-id /etc/ssl/private /etc/pki/tls/private /etc/pam.d /etc/apt "
      "/etc/npmrc /etc/pip.conf /etc/gitconfig /etc/environment /root/.ssh /root/.bashrc "
      "/boot /var/lib/systemd /var/log/dpkg.log /var/spool/cron /oldroot /up /low; do "
      "test -e $f && echo visible $f; done; "
      "ls -A /root /home /tmp /run /srv /mnt /var/tmp");
  CHECK(out == "/home:\n\n/mnt:\n\n/root:\n\n/run:\nlock\n\n/srv:\n\n/tmp:\n\n/var/tmp:");
}

TEST_CASE("accounts are those of programs, and names resolve in files of our own") {
  FOR_ROOT_AND_USER;
  const std::string out =
      Inside(who,
             "id -un; getent passwd nobody | cut -d: -f1; grep -c . /etc/passwd; hostname; "
             "cat /etc/hostname /etc/resolv.conf; getent hosts sandbox | cut -d' ' -f1; "
             "cat /etc/nsswitch.conf | grep hosts");
  CHECK_THAT(out, StartsWith("root\nnobody\n"));
  CHECK_THAT(out, Contains("sandbox\nsandbox\nnameserver 10.0.2.2\n127.0.1.1\nhosts: files dns"));
}

TEST_CASE("what a sandbox writes is gone with it") {
  FOR_ROOT_AND_USER;
  const std::string write =
      "echo x > /etc/sallyport-test; echo x > /tmp/t; echo x > /root/t; "
      "mkdir -p /usr/sallyport-test; cat /etc/sallyport-test";
  CHECK(Inside(who, write) == "x");
  CHECK_FALSE(std::filesystem::exists("/etc/sallyport-test"));
  CHECK_FALSE(std::filesystem::exists("/usr/sallyport-test"));
  CHECK(Inside(who, "ls -d /etc/sallyport-test /usr/sallyport-test /tmp/t /root/t 2>/dev/null") ==
        "");
}

TEST_CASE("root's guest may change its copy of the host's tools") {
  if (!CanStart(Who::kRoot)) return;
  const std::string out = Inside(Who::kRoot,
                                 "echo '#!/bin/sh\necho mine' > /usr/bin/true; /usr/bin/true; rm "
                                 "/usr/bin/env; ls /usr/bin/env");
  CHECK_THAT(out, StartsWith("mine\n"));
  CHECK_THAT(out, Contains("No such file"));
  CHECK(std::filesystem::exists("/usr/bin/env"));
}

TEST_CASE("the files of CA certificates can be changed by the guest's root") {
  FOR_ROOT_AND_USER;
  CHECK(Inside(who,
               "touch /etc/ssl/certs/0a1b2c3d.0 && "
               "for f in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; "
               "do test -e $f || continue; echo mine >> $f && tail -n 1 $f; done") == "mine");
  CHECK(Get("/etc/ssl/certs/ca-certificates.crt").find("mine") == std::string::npos);
}

TEST_CASE("a writable mount keeps what is written, as the owner of the directory") {
  FOR_ROOT_AND_USER;
  const TempDir dir;
  Give(dir.path(), who);
  Put(dir / "before", "from the host");
  Give(dir / "before", who);
  const std::string out = InsideWith(
      who, {{dir.path(), "/work", true}},
      "cat /work/before; echo; echo new > /work/after; mkdir /work/deep; stat -c %u /work/before "
      "/work/after; chown 1 /work/after 2>/dev/null && echo given away");
  CHECK(out == "from the host\n0\n0");
  CHECK(Get(dir / "after") == "new\n");
  struct stat made;
  struct stat top;
  REQUIRE(stat((dir / "after").c_str(), &made) == 0);
  REQUIRE(stat(dir.path().c_str(), &top) == 0);
  CHECK(made.st_uid == top.st_uid);
  CHECK(made.st_gid == top.st_gid);
}

TEST_CASE("root's mount shows no other user's private files") {
  if (!CanStart(Who::kRoot)) return;
  const TempDir dir;
  Give(dir.path(), Who::kRoot);
  Put(dir / "root-only", "secret");
  REQUIRE(chmod((dir / "root-only").c_str(), 0600) == 0);
  for (const bool writable : {false, true}) {
    CHECK_THAT(InsideWith(Who::kRoot, {{dir.path(), "/work", writable}}, "cat /work/root-only"),
               Contains("Permission denied"));
  }
}

TEST_CASE("a read-only mount can be read and not changed") {
  FOR_ROOT_AND_USER;
  const TempDir dir;
  Put(dir / "file", "text");
  Give(dir / "file", who);
  Give(dir.path(), who);
  const std::string out = InsideWith(who, {{dir.path(), "/work", false}},
                                     "cat /work/file; echo; echo x > /work/file; touch /work/new; "
                                     "rm -f /work/file; chmod 777 /work/file");
  CHECK_THAT(out, StartsWith("text\n"));
  CHECK_THAT(out, Contains("Read-only file system"));
  CHECK(Get(dir / "file") == "text");
  CHECK_FALSE(std::filesystem::exists(dir / "new"));
}

TEST_CASE("a single file can be mounted") {
  FOR_ROOT_AND_USER;
  const TempDir dir;
  Put(dir / "file", "text");
  Give(dir / "file", who);
  CHECK(InsideWith(who, {{dir / "file", "/etc/tool/config", false}}, "cat /etc/tool/config") ==
        "text");
}

TEST_CASE("set-user-id programs and devices of a mount are dead") {
  if (!CanStart(Who::kRoot)) return;
  const TempDir dir;
  CHECK(InsideWith(Who::kRoot, {{dir.path(), "/work", true}},
                   "grep -c ' /work .*nosuid,nodev' /proc/mounts") == "1");
}

TEST_CASE("masked files and directories are empty inside a mount") {
  FOR_ROOT_AND_USER;
  const TempDir dir;
  std::filesystem::create_directories(dir / "a/state");
  Put(dir / "a/state/key", "secret");
  Put(dir / "a/policy.lua", "secret");
  Put(dir / "a/other", "open");
  for (const char* path : {"", "/a", "/a/state", "/a/state/key", "/a/policy.lua", "/a/other"}) {
    Give(dir.path() + path, who);
  }
  const std::string out =
      InsideWith(who, {{dir.path(), "/work", true}},
                 "cat /work/a/other; echo; ls -A /work/a/state; cat /work/a/policy.lua; "
                 "rm -rf /work/a/state /work/a/policy.lua; mv /work/a/policy.lua /work/x; "
                 "echo changed > /work/a/policy.lua; touch /work/a/state/new",
                 {dir / "a/state", dir / "a/policy.lua"});
  INFO(out);
  CHECK_THAT(out, StartsWith("open\n"));
  CHECK(out.find("secret") == std::string::npos);
  CHECK(Get(dir / "a/policy.lua") == "secret");
  CHECK(Get(dir / "a/state/key") == "secret");
  CHECK_FALSE(std::filesystem::exists(dir / "a/state/new"));
}

TEST_CASE("no folder around what is masked can be renamed, so that nothing takes its place") {
  FOR_ROOT_AND_USER;
  const TempDir dir;
  std::filesystem::create_directories(dir / "a/b/state");
  Put(dir / "a/b/policy.lua", "the host's");
  for (const char* path : {"", "/a", "/a/b", "/a/b/state", "/a/b/policy.lua"}) {
    Give(dir.path() + path, who);
  }
  const std::string out = InsideWith(
      who, {{dir.path(), "/work", true}},
      "cd /work; for d in a a/b a/b/state a/b/policy.lua; do mv -T $d moved && echo moved $d; "
      "rmdir $d 2>/dev/null && echo removed $d; done; mkdir a/other && mv -T a/other a/third && "
      "ls a; mv -T a/third a/b; echo mine > a/b/policy.lua",
      {dir / "a/b/state", dir / "a/b/policy.lua"});
  INFO(out);
  CHECK(out.find("moved ") == std::string::npos);
  CHECK(out.find("removed ") == std::string::npos);
  CHECK_THAT(out, Contains("Device or resource busy"));
  CHECK_THAT(out, Contains("b\nthird"));  // What is beside them moves as ever.
  CHECK(Get(dir / "a/b/policy.lua") == "the host's");
  CHECK(std::filesystem::is_directory(dir / "a/b/state"));
}

TEST_CASE("a masked directory below the host's tools is empty") {
  FOR_ROOT_AND_USER;
  const std::string out = As(who, []() -> std::string {
    WorkloadSpec spec = BasicSpec();
    spec.masked = {"/usr/share/doc", "/var/lib/sallyport-does-not-exist"};
    auto sandbox = Sandbox::Start(spec);
    return sandbox ? sandbox->Shell("ls -A /usr/share/doc | wc -l; touch /usr/share/doc/x 2>&1")
                   : sandbox.error().message();
  });
  CHECK_THAT(out, StartsWith("0\n"));
  CHECK_THAT(out, Contains("Read-only"));
}

TEST_CASE("what the host runs later is read-only in a writable mount") {
  FOR_ROOT_AND_USER;
  const TempDir dir;
  std::filesystem::create_directories(dir / ".git/hooks");
  std::filesystem::create_directories(dir / ".vscode");
  Put(dir / ".git/config", "[core]\n");
  Put(dir / ".envrc", "true\n");
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir.path())) {
    Give(entry.path(), who);
  }
  Give(dir.path(), who);
  const std::string out = InsideWith(
      who, {{dir.path(), "/work", true}},
      "cd /work; echo evil > .git/hooks/pre-commit; echo evil >> .git/config; echo evil > .envrc; "
      "echo evil > .vscode/tasks.json; mv .git .git2; mv .vscode v; rm -rf .git/hooks .envrc; "
      "cat .git/config; echo objects > .git/HEAD; cat .git/HEAD");
  INFO(out);
  CHECK_THAT(out, Contains("[core]"));
  CHECK_THAT(out, Contains("objects"));  // The rest of the repository stays writable.
  CHECK(Get(dir / ".git/config") == "[core]\n");
  CHECK(Get(dir / ".envrc") == "true\n");
  CHECK_FALSE(std::filesystem::exists(dir / ".git/hooks/pre-commit"));
  CHECK_FALSE(std::filesystem::exists(dir / ".vscode/tasks.json"));
  CHECK_FALSE(std::filesystem::exists(dir / ".git2"));
}

/// What git takes for a git directory.
void MakeGitDirectory(const std::string& path) {
  std::filesystem::create_directories(path + "/hooks");
  std::filesystem::create_directories(path + "/objects");
  std::filesystem::create_directories(path + "/refs");
  Put(path + "/HEAD", "ref: refs/heads/main\n");
  Put(path + "/config", "[core]\n");
}

TEST_CASE("what git obeys is read-only in every repository of a writable mount") {
  FOR_ROOT_AND_USER;
  const TempDir dir;
  MakeGitDirectory(dir / ".git");
  MakeGitDirectory(dir / ".git/modules/lib");
  MakeGitDirectory(dir / "deep/nested/.git");
  MakeGitDirectory(dir / "bare");
  std::filesystem::create_directories(dir / ".git/worktrees/side");
  Put(dir / ".git/worktrees/side/HEAD", "ref: refs/heads/side\n");
  Put(dir / ".git/worktrees/side/commondir", "../..\n");
  Put(dir / ".git/worktrees/side/gitdir", "/elsewhere/.git\n");
  Put(dir / ".git/config.worktree", "[core]\n");
  std::filesystem::create_directories(dir / "lib");
  Put(dir / "lib/.git", "gitdir: ../.git/modules/lib\n");
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir.path())) {
    Give(entry.path(), who);
  }
  Give(dir.path(), who);
  const std::string out = InsideWith(
      who, {{dir.path(), "/work", true}},
      "cd /work; for f in .git/config .git/config.worktree .git/modules/lib/config lib/.git "
      ".git/worktrees/side/commondir .git/worktrees/side/gitdir deep/nested/.git/config "
      "bare/config; do echo evil 2>/dev/null >> $f && echo wrote $f; rm -f $f 2>/dev/null && echo "
      "removed $f; done; for d in .git .git/modules/lib deep/nested/.git bare; do "
      "touch $d/hooks/pre-commit 2>/dev/null && echo planted $d; echo x > $d/index || echo no $d; "
      "done; "
      "for d in .git .git/modules .git/modules/lib .git/worktrees .git/worktrees/side deep "
      "deep/nested deep/nested/.git bare; do mv -T $d moved 2>/dev/null && echo moved $d; done");
  CHECK(out == "");
  CHECK(Get(dir / "bare/index") == "x\n");
}

TEST_CASE("a link where the host would run something is refused in a writable mount") {
  FOR_ROOT_AND_USER;
  const TempDir dir;
  std::filesystem::create_directory_symlink("/etc", dir / ".vscode");
  Give(dir.path(), who);
  CHECK_THAT(InsideWith(who, {{dir.path(), "/work", true}}, "true"),
             Contains(".vscode is a link, which can't be protected"));
  CHECK(InsideWith(who, {{dir.path(), "/work", false}}, "echo fine") == "fine");
}

TEST_CASE("a hostile link in one mount does not lead the next one out of the sandbox") {
  FOR_ROOT_AND_USER;
  const TempDir dir;
  const TempDir other;
  std::filesystem::create_directory_symlink("/oldroot" + other.path(), dir / "out");
  std::filesystem::create_directory_symlink("../../../..", dir / "up");
  Give(dir.path(), who);
  CHECK_THAT(
      InsideWith(who, {{dir.path(), "/work", true}, {other.path(), "/work/out/x", false}}, "true"),
      Contains("/work/out"));
  CHECK(std::filesystem::is_empty(other.path()));
  // Too many ".." end at the sandbox's own root.
  CHECK(InsideWith(who, {{dir.path(), "/work", true}, {other.path(), "/work/up/landed", false}},
                   "ls -d /landed") == "/landed");
  CHECK_FALSE(std::filesystem::exists("/landed"));
}

TEST_CASE("no descriptor of the launcher gets in, whatever its flags") {
  FOR_ROOT_AND_USER;
  const std::string out = As(who, []() -> std::string {
    const int leaked = open("/", O_RDONLY);  // Without O_CLOEXEC.
    auto sandbox = Sandbox::Start(BasicSpec());
    close(leaked);
    return sandbox
               ? sandbox->Shell("ls /proc/self/fd | tr '\\n' ' '; tty; cat /proc/1/environ | wc -c")
               : sandbox.error().message();
  });
  CHECK_THAT(out, StartsWith("0 1 2 3 not a tty"));  // 3 is ls reading the directory.
}

TEST_CASE("signals that the launcher ignores or blocks are not so inside") {
  FOR_ROOT_AND_USER;
  const std::string out = As(who, []() -> std::string {
    signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    sigfillset(&set);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    auto sandbox = Sandbox::Start(BasicSpec());
    return sandbox ? sandbox->Shell("grep -E 'SigBlk|SigIgn' /proc/self/status")
                   : sandbox.error().message();
  });
  CHECK(out == "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000");
}

TEST_CASE("the guest keeps the capabilities of a package manager and no new privileges") {
  FOR_ROOT_AND_USER;
  const std::string out = Inside(who, "grep -E 'Cap|NoNewPrivs' /proc/self/status");
  // CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SYS_CHROOT
  // SETFCAP.
  CHECK(out ==
        "CapInh:\t0000000000000000\nCapPrm:\t00000000800405fb\nCapEff:\t00000000800405fb\n"
        "CapBnd:\t00000000800405fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1");
}

TEST_CASE("every attempt of the probe is denied") {
  FOR_ROOT_AND_USER;
  const TempDir dir;
  std::filesystem::copy_file(SALLYPORT_PROBE, dir / "probe");
  const std::string out = As(who, [&]() -> std::string {
    WorkloadSpec spec = BasicSpec();
    spec.mounts = {{dir / "probe", "/probe", false}};
    auto sandbox = Sandbox::Start(spec);
    if (!sandbox) return sandbox.error().message();
    std::string printed = sandbox->Run("filtered", {"/probe"});
    return printed + "\nPID 1: " + sandbox->Shell("echo alive");
  });
  INFO(out);
  CHECK(out.find("ALLOWED") == std::string::npos);
  CHECK(out.find("BROKEN") == std::string::npos);
  CHECK_THAT(out, Contains("\n0 too many\nPID 1: alive"));
}

}  // namespace
}  // namespace sallyport::runtime
