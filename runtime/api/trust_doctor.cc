#include "runtime/api/trust_doctor.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/loop.h"
#include "base/unique_fd.h"
#include "policy/engine.h"
#include "runtime/api/files.h"
#include "runtime/api/policy_file.h"
#include "runtime/api/sandbox.h"
#include "runtime/api/session.h"
#include "runtime/api/trust_probes.h"

namespace sallyport {
namespace {

constexpr size_t kMaxOutput = 64 * 1024;  // Less than forty lines of less than 400 bytes.
constexpr auto kMost = std::chrono::minutes(5);

using Answer = TrustFinding::Answer;

Result<SandboxConfig> MakeConfig(const std::optional<std::string>& policy_file) {
  SandboxConfig config;
  config.hostname = "trust-check";
  config.timeout = kMost;
  if (!policy_file) return config;
  auto source = ReadGivenPolicy(*policy_file);
  if (!source) return tl::unexpected(std::move(source).error());
  const auto loaded = policy::Engine::Load(*std::move(source));
  if (!loaded.engine) {
    std::string errors = "the policy has mistakes:";
    for (const auto& diagnostic : loaded.diagnostics) errors += "\n" + diagnostic.ToString();
    return Fail(Code::kInvalid, std::move(errors));
  }
  for (const auto& mount : loaded.engine->sandbox().mounts) {
    config.mounts.push_back({mount.source, mount.target, mount.writable});
  }
  return config;
}

/// What a program writes to a pipe, up to kMaxOutput; the rest is read and dropped.
class Output {
 public:
  static Result<std::unique_ptr<Output>> Create(Loop& loop) {
    std::array<int, 2> ends;
    if (pipe2(ends.data(), O_CLOEXEC) != 0) return tl::unexpected(Error::FromErrno("pipe2"));
    std::unique_ptr<Output> output(new Output(UniqueFd(ends[0]), UniqueFd(ends[1])));
    if (fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) return tl::unexpected(Error::FromErrno("fcntl"));
    auto watch = loop.Watch(ends[0], EPOLLIN, [raw = output.get()](uint32_t) { raw->Drain(); });
    if (!watch) return tl::unexpected(std::move(watch).error());
    output->watch_ = *std::move(watch);
    return output;
  }

  int write_end() const { return write_.get(); }
  /// Everything so far.
  std::string Take() {
    Drain();
    return std::move(text_);
  }

 private:
  Output(UniqueFd read, UniqueFd write) : read_(std::move(read)), write_(std::move(write)) {}

  void Drain() {
    std::array<char, 4096> buffer;
    for (ssize_t got; (got = read(read_.get(), buffer.data(), buffer.size())) > 0;) {
      text_.append(buffer.data(), std::min(static_cast<size_t>(got), kMaxOutput - text_.size()));
    }
  }

  UniqueFd read_;
  UniqueFd write_;
  std::string text_;
  Loop::Handle watch_;
};

/// Runs PROGRAM in SANDBOX to its end and returns what it printed.
Result<std::string> Run(Sandbox& sandbox, const Program& program) {
  auto loop = Loop::Create();
  if (!loop) return tl::unexpected(std::move(loop).error());
  auto output = Output::Create(**loop);
  if (!output) return tl::unexpected(std::move(output).error());
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null.valid()) return tl::unexpected(Error::FromErrno("/dev/null"));
  std::optional<Session::Outcome> outcome;
  auto session =
      Session::Start(**loop, sandbox, program,
                     {.in = null.get(), .out = (*output)->write_end(), .err = null.get()},
                     [&](Session::Outcome ended) { outcome = std::move(ended); });
  if (!session) return tl::unexpected(std::move(session).error());
  while (!outcome) {
    if (const auto turned = (*loop)->RunOnce(); !turned) return tl::unexpected(turned.error());
  }
  if (!outcome->message.empty()) return Fail(Code::kSystem, outcome->message);
  return (*output)->Take();
}

std::optional<Answer> ParseAnswer(std::string_view text) {
  if (text == "yes") return Answer::kYes;
  if (text == "no") return Answer::kNo;
  if (text == "?") return Answer::kUntried;
  return std::nullopt;
}

/// Only what a terminal shows as it is.
std::string Printable(std::string_view text) {
  std::string printable(text);
  std::erase_if(printable, [](char c) { return c < ' ' || c > '~'; });
  return printable;
}

std::optional<TrustFinding> ParseLine(std::string_view line) {
  std::array<std::string_view, 3> fields;
  for (auto& field : fields) {
    const size_t tab = line.find('\t');
    if (tab == std::string_view::npos) return std::nullopt;
    field = line.substr(0, tab);
    line.remove_prefix(tab + 1);
  }
  const auto probes = TrustProbes();
  const auto probe = std::find_if(probes.begin(), probes.end(),
                                  [&](const TrustProbe& one) { return fields[0] == one.name; });
  const auto with = ParseAnswer(fields[1]);
  const auto without = ParseAnswer(fields[2]);
  if (probe == probes.end() || !with || !without) return std::nullopt;
  // What was found out, or, of a program that is never tried, what is known.
  const bool failed = *with == Answer::kNo || *without == Answer::kNo;
  const bool fix = failed || probe->command == nullptr;
  return TrustFinding{probe->name,           *with,          *without, probe->by,
                      fix ? probe->fix : "", Printable(line)};
}

}  // namespace

Result<TrustReport> ReadTrustOutput(const std::string& output) {
  TrustReport report{.findings = {}, .trusted = true};
  bool ended = false;
  for (const auto line : Lines(output)) {
    ended = ended || line == "end";
    auto finding = ParseLine(line);
    if (!finding) continue;
    if (finding->with == Answer::kNo) report.trusted = false;
    report.findings.push_back(*std::move(finding));
  }
  if (!ended)
    return Fail(Code::kInvalid, "the programs could not be tried to the end in the sandbox");
  return report;
}

Result<TrustReport> ExamineTrust(const std::optional<std::string>& policy_file) {
  const auto config = MakeConfig(policy_file);
  if (!config) return tl::unexpected(config.error());
  auto sandbox = Sandbox::Start(*config);
  if (!sandbox) return tl::unexpected(std::move(sandbox).error());
  const auto output =
      Run(*sandbox, {.argv = {"sh", "-c", TrustScript(TrustProbes())}, .env = {}, .workdir = {}});
  if (!output) return tl::unexpected(output.error());
  return ReadTrustOutput(*output);
}

}  // namespace sallyport
