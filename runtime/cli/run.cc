#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sys/epoll.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "runtime/api/files.h"
#include "runtime/api/policy_learn.h"
#include "runtime/api/ports.h"
#include "runtime/api/sandbox.h"
#include "runtime/api/session.h"
#include "runtime/api/spawn.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/duration.h"
#include "runtime/cli/terminal.h"

namespace sallyport::cli {

namespace {

constexpr int kSandboxFailed = 125;
constexpr auto kLastWords =
    std::chrono::seconds(2);  // For the audit log of a sandbox that is cut short.

struct RunOptions {
  std::string backend = "auto";
  std::string policy;
  std::string profile;
  std::vector<std::string> secrets;
  std::vector<std::string> env;
  std::vector<std::string> mounts;
  std::string workdir;
  bool tty = false;
  std::string hostname;
  bool no_network = false;
  std::string timeout;
  std::vector<std::string> resolvers;
  std::vector<std::string> roots;
  std::string audit;
  std::vector<std::string> ports;
  std::string pcap;
  std::string approve_command;
  std::string otlp;
  std::string otlp_headers;
  bool verbose = false;
  std::string learn;
  std::vector<std::string> argv;
};

int Complain(const std::string& message) {
  std::fprintf(stderr, "sandboxctl: %s\n", message.c_str());
  return kSandboxFailed;
}

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (size_t start = 0;;) {
    const size_t end = text.find(separator, start);
    parts.push_back(text.substr(start, end - start));
    if (end == std::string::npos) return parts;
    start = end + 1;
  }
}

Result<SandboxConfig::NamedSecret> ParseSecret(const std::string& text) {
  const size_t at = text.find('@');
  if (at == 0 || at == std::string::npos || at + 1 == text.size()) {
    return Fail(Code::kInvalid,
                "--secret " + text + ": write NAME@HOST, as in GITHUB_TOKEN@api.github.com");
  }
  return SandboxConfig::NamedSecret{text.substr(0, at), Split(text.substr(at + 1), ',')};
}

Result<SandboxConfig::Mount> ParseMount(const std::string& text) {
  auto parts = Split(text, ':');
  if (parts.size() == 2) parts.emplace_back("rw");
  if (parts.size() != 3 || parts[0].empty() || parts[1].empty() ||
      (parts[2] != "ro" && parts[2] != "rw")) {
    return Fail(Code::kInvalid, "-v " + text + ": write SRC:DST or SRC:DST:ro");
  }
  return SandboxConfig::Mount{parts[0], parts[1], parts[2] == "rw"};
}

Result<std::pair<std::string, std::string>> ParseVariable(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == 0) return Fail(Code::kInvalid, "-e " + text + ": write NAME=VALUE");
  if (equals != std::string::npos)
    return std::pair(text.substr(0, equals), text.substr(equals + 1));
  const char* value = std::getenv(text.c_str());
  if (value == nullptr)
    return Fail(Code::kInvalid, "-e " + text + ": the variable is not set here");
  return std::pair(text, std::string(value));
}

Result<runtime::PublishedPort> ParsePublished(const std::string& text) {
  auto port = ParsePort(text);
  if (!port) return tl::unexpected(std::move(port).error().In("-p " + text));
  return port;
}

/// Says which ports were taken where nobody chose them, or all of them.
void TellPorts(const RunOptions& options, const SandboxConfig& config, const Sandbox& sandbox) {
  for (size_t i = 0; i < sandbox.ports.size(); ++i) {
    if (config.ports[i].host.port != 0 && !options.verbose) continue;
    std::fprintf(stderr, "sandboxctl: %s\n", Describe(sandbox.ports[i]).c_str());
  }
}

/// Runs PARSE over each of TEXTS.
template <class T>
Result<std::vector<T>> ParseAll(const std::vector<std::string>& texts,
                                Result<T> (*parse)(const std::string&)) {
  std::vector<T> all;
  for (const auto& text : texts) {
    auto one = parse(text);
    if (!one) return tl::unexpected(std::move(one).error());
    all.push_back(*std::move(one));
  }
  return all;
}

Result<SandboxConfig> MakeConfig(const RunOptions& options) {
  SandboxConfig config;
  config.backend = options.backend == "namespace" ? SandboxConfig::Backend::kNamespace
                                                  : SandboxConfig::Backend::kAuto;
  if (!options.policy.empty()) config.policy_file = options.policy;
  if (!options.profile.empty()) config.profile = options.profile;
  auto secrets = ParseAll(options.secrets, ParseSecret);
  if (!secrets) return tl::unexpected(std::move(secrets).error());
  config.secrets = *std::move(secrets);
  auto mounts = ParseAll(options.mounts, ParseMount);
  if (!mounts) return tl::unexpected(std::move(mounts).error());
  config.mounts = *std::move(mounts);
  if (!options.hostname.empty()) config.hostname = options.hostname;
  config.no_network = options.no_network;
  if (!options.timeout.empty()) {
    config.timeout = ParseDuration(options.timeout);
    if (!config.timeout)
      return Fail(Code::kInvalid, "--timeout " + options.timeout + ": write 30s, 5m or 2h");
  }
  auto ports = ParseAll(options.ports, ParsePublished);
  if (!ports) return tl::unexpected(std::move(ports).error());
  config.ports = *std::move(ports);
  config.resolvers = options.resolvers;
  config.upstream_roots = options.roots;
  if (!options.audit.empty()) config.audit_file = options.audit;
  config.learn = !options.learn.empty();
  if (!options.pcap.empty()) config.pcap_file = options.pcap;
  if (!options.approve_command.empty()) config.approve_command = options.approve_command;
  if (!options.otlp.empty()) config.otlp = options.otlp;
  if (!options.otlp_headers.empty()) config.otlp_headers = options.otlp_headers;
  return config;
}

Result<Program> MakeProgram(const RunOptions& options) {
  Program program;
  program.argv = options.argv;
  auto env = ParseAll(options.env, ParseVariable);
  if (!env) return tl::unexpected(std::move(env).error());
  program.env = *std::move(env);
  if (!options.workdir.empty()) program.workdir = options.workdir;
  program.tty = options.tty;
  if (const char* term = std::getenv("TERM"); options.tty && term != nullptr) {
    program.env.insert(program.env.begin(), {"TERM", term});
  }
  return program;
}

/// The signals that go on to the program, read in the loop. The second interrupt ends the sandbox.
class Signals {
 public:
  static sigset_t Set() {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH}) {
      sigaddset(&set, number);
    }
    return set;
  }

  Status Watch(Loop& loop, Session& session, std::function<void()> on_second_interrupt) {
    const sigset_t set = Set();
    fd_ = UniqueFd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd_.valid()) return tl::unexpected(Error::FromErrno("signalfd"));
    auto watch = loop.Watch(fd_.get(), EPOLLIN,
                            [this, &session, end = std::move(on_second_interrupt)](uint32_t) {
                              signalfd_siginfo info;
                              while (read(fd_.get(), &info, sizeof info) == sizeof info) {
                                OnSignal(static_cast<int>(info.ssi_signo), session, end);
                              }
                            });
    if (!watch) return tl::unexpected(std::move(watch).error());
    watch_ = *std::move(watch);
    return {};
  }

 private:
  void OnSignal(int number, Session& session, const std::function<void()>& end) {
    if (number == SIGWINCH) {
      winsize size = {};
      if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) session.Resize(size.ws_row, size.ws_col);
      return;
    }
    if (number == SIGINT && ++interrupts_ > 1) return end();
    session.Signal(number);
  }

  UniqueFd fd_;
  int interrupts_ = 0;
  Loop::Handle watch_;
};

/// The file that --learn names. What the run does must be possible to read afterwards.
Result<ReplacedFile> PrepareLearning(const RunOptions& options) {
  struct stat log {};
  if (!options.audit.empty() && stat(options.audit.c_str(), &log) == 0 && !S_ISREG(log.st_mode)) {
    return Fail(Code::kInvalid, "--learn reads the audit log back, and " + options.audit +
                                    " is no regular file");
  }
  auto file = OpenLearntFile(options.learn);
  if (!file) return tl::unexpected(std::move(file).error().In("--learn"));
  std::fprintf(stderr,
               "sandboxctl: LEARNING: this sandbox is OPEN. What no rule covers is allowed, to every "
               "public host, and\nsandboxctl: becomes a rule in %s. Run nothing here that you "
               "would not run outside.\n",
               options.learn.c_str());
  return file;
}

/// Makes rules of what SANDBOX did, which is over.
void FinishLearning(const RunOptions& options, const Sandbox& sandbox, const ReplacedFile& file) {
  LearnPlan plan{.audits = {sandbox.audit_file},
                 .sandbox = sandbox.id,
                 .take = LearnPlan::Take::kLearnt,
                 .over = {}};
  // What came through a pipe can't be read again; nothing that it covers was marked as learnt.
  if (!options.policy.empty() && !IsPipe(options.policy)) plan.over = options.policy;
  const auto learnt = LearnPolicy(plan);
  if (!learnt) {
    Complain("nothing was written to " + file.path() + ": " + learnt.error().message());
    return;
  }
  for (const auto& note : learnt->notes) Complain("learning: " + note);
  if (auto written = file.Write(learnt->text); !written) {
    Complain(written.error().message());
    return;
  }
  std::fprintf(stderr,
               "sandboxctl: %s has rules for %zu decisions that no rule covered. This run was open: "
               "read them before you use them.\n",
               file.path().c_str(), learnt->decisions);
}

int RunProgram(const RunOptions& options, Result<WaitingWarden> warden) {
  const sigset_t set = Signals::Set();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  auto config = MakeConfig(options);
  if (!config) return Complain(config.error().message());
  auto program = MakeProgram(options);
  if (!program) return Complain(program.error().message());
  auto loop = Loop::Create();
  if (!loop) return Complain(loop.error().message());
  if (!warden) return Complain(warden.error().message());
  std::optional<ReplacedFile> learnt;
  if (config->learn) {
    auto file = PrepareLearning(options);
    if (!file) return Complain(file.error().message());
    learnt = *std::move(file);
  }
  auto sandbox = Sandbox::Start(*config, *std::move(warden));
  if (!sandbox) return Complain(sandbox.error().message());
  for (const auto& warning : sandbox->warnings)
    std::fprintf(stderr, "sandboxctl: %s\n", warning.c_str());
  TellPorts(options, *config, *sandbox);

  std::optional<Session::Outcome> outcome;
  auto session = Session::Start(**loop, *sandbox, *program, {},
                                [&](Session::Outcome ended) { outcome = std::move(ended); });
  if (!session) return Complain(session.error().message());
  if (options.verbose) {
    (*session)->on_launched = [&](const Session::Facts& facts) {
      std::fprintf(stderr, "sandboxctl: sandbox %s, backend %s, link %s, audit log %s\n",
                   sandbox->id.c_str(), facts.backend.c_str(), facts.link.c_str(),
                   sandbox->audit_file.c_str());
    };
  }
  Signals signals;
  auto watched = signals.Watch(**loop, **session, [&] {
    outcome = Session::Outcome{128 + SIGINT, ""};
  });
  if (!watched) return Complain(watched.error().message());

  std::optional<AuditRenewal> audit;
  if (sandbox->audit) audit.emplace(**loop, sandbox->id, *sandbox->audit);
  std::optional<RawTerminal> raw;
  if (options.tty) raw.emplace();
  while (!outcome) {
    const auto turned = (*loop)->RunOnce();
    if (!turned) outcome = Session::Outcome{kSandboxFailed, turned.error().message()};
  }
  raw.reset();
  session->reset();  // Closes the control socket: a sandbox that still runs ends.
  if (outcome->exit_code == 128 + SIGINT) WaitForWarden(sandbox->warden, kLastWords);
  if (!outcome->message.empty()) Complain(outcome->message);
  if (learnt) FinishLearning(options, *sandbox, *learnt);
  // The warden dies with us; the network device that it still takes apart is not worth waiting for.
  std::fflush(nullptr);
  _exit(outcome->exit_code);
}

}  // namespace

void AddRun(CLI::App& app, Run& run, std::optional<Result<WaitingWarden>>& warden) {
  auto* command = app.add_subcommand("run", "Runs a program in a new sandbox");
  auto options = std::make_shared<RunOptions>();
  command->add_option("--backend", options->backend, "How to isolate: auto or namespace")
      ->check(CLI::IsMember({"auto", "namespace"}));
  auto* policy = command->add_option("-f,--policy", options->policy,
                                     "The policy file; without one nothing is granted");
  command
      ->add_option("--profile", options->profile,
                   "permissive, moderate or restrictive, instead of a file; see `policy profile`")
      ->excludes(policy);
  command
      ->add_option(
          "--secret", options->secrets,
          "NAME@HOST[,HOST...]: the variable NAME holds a secret that these hosts may receive")
      ->allow_extra_args(false);
  command
      ->add_option("-e,--env", options->env,
                   "NAME=VALUE for the program; NAME alone takes the value from here")
      ->allow_extra_args(false);
  command->add_option("-v,--volume", options->mounts, "SRC:DST[:ro]: shows a host path inside")
      ->allow_extra_args(false);
  command->add_option("-w,--workdir", options->workdir, "Where the program starts");
  command->add_flag("-t,--tty", options->tty, "Gives the program a terminal");
  command->add_option("--hostname", options->hostname, "The sandbox's host name");
  command->add_flag("--no-network", options->no_network, "No network at all");
  command->add_option("--timeout", options->timeout,
                      "Ends the sandbox after 30s, 5m, 2h; exit code 124");
  command
      ->add_option("--resolver", options->resolvers,
                   "ADDR[:PORT] of a DNS server that the gate asks")
      ->allow_extra_args(false);
  command
      ->add_option("--upstream-ca", options->roots,
                   "PEM file of roots that the gate trusts besides the host's")
      ->allow_extra_args(false);
  command
      ->add_option("-p,--publish", options->ports,
                   "[BIND:]HOST:GUEST[/udp]: port HOST of this host leads to GUEST inside; on "
                   "127.0.0.1, unless BIND says otherwise. HOST 0: any that is free")
      ->allow_extra_args(false);
  command->add_option("--audit", options->audit, "Appends the audit log to this file");
  command->add_option("--pcap", options->pcap,
                      "Writes the guest's frames to this file, for Wireshark or tcpdump -r");
  command->add_option("--approve-command", options->approve_command,
                      "A program that answers what `ask` asks: it reads the question, and exits with "
                      "0 for yes or 1 for no");
  command->add_option("--otlp", options->otlp,
                      "URL of an OpenTelemetry collector that is told what is allowed and refused; "
                      "env: the one of OTEL_EXPORTER_OTLP_ENDPOINT");
  command->add_option("--otlp-headers", options->otlp_headers,
                      "VARIABLE or @FILE that holds the collector's headers, as name=value,name=value");
  command->add_flag("--verbose", options->verbose, "Says which backend and link run");
  command->add_option("--learn", options->learn,
                      "OPENS the sandbox: what no rule covers is allowed, and written to this file as "
                      "rules");
  command->add_option("COMMAND", options->argv, "The program and its arguments, after --")
      ->required();
  command->positionals_at_end();
  command->footer(
      "Exit codes: the program's own; 124 time is over; 125 the sandbox failed; 126 not runnable;\n"
      "127 not found; 128+n ended by signal n.\n\n"
      "Example:\n"
      "  sandboxctl run -f policy.lua --secret GITHUB_TOKEN@api.github.com -v .:/work -w /work \\\n"
      "    -- sh -c 'curl -H \"Authorization: Bearer $GITHUB_TOKEN\" https://api.github.com/user'\n"
      "  sandboxctl run --learn learnt.lua -- npm install\n"
      "  sandboxctl run -p 8080:8000 -p [::1]:5353:53/udp -- python3 -m http.server 8000\n"
      "  sandboxctl run --pcap run.pcapng -- curl -sS https://example.com   # then: wireshark run.pcapng");
  command->callback([&run, &warden, options] {
    run = [&warden, options] {
      if (!warden) warden.emplace(WaitingWarden::Start());
      return RunProgram(*options, *std::move(warden));
    };
  });
}

}  // namespace sallyport::cli
