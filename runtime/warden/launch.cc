#include "runtime/warden/launch.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <iterator>

#include "base/descriptor_message.h"
#include "guest/protocol/cbor_sequence.h"

namespace sallyport::runtime {

using guest::CborSequence;
using guest::CborWriter;

namespace {

constexpr size_t kLaunchFields = 23;

void WriteTexts(CborWriter& out, const std::vector<std::string>& texts) {
  out.Array(texts.size());
  for (const auto& text : texts) out.Text(text);
}

using Files = std::vector<std::pair<std::string, std::string>>;

void WriteFiles(CborWriter& out, const Files& files) {
  out.Array(files.size());
  for (const auto& [name, text] : files) {
    out.Array(2);
    out.Text(name);
    out.Text(text);
  }
}

Files ReadFiles(CborSequence& in) {
  Files files;
  for (size_t left = in.Array(); left > 0 && in.ok(); --left) {
    in.Expect(2);
    auto& file = files.emplace_back();
    file.first = in.Text();
    file.second = in.Text();
  }
  return files;
}

constexpr off_t kMaxLaunch = 64 * 1024 * 1024;
/// What the descriptors of a launch message travel with.
constexpr char kMark = 'L';
// The launch itself, then those of LaunchMessage in order; behind them one for each port, and the
// capture's, if there is one.
constexpr size_t kDescriptors = 4;

Result<UniqueFd> ToMemoryFile(const Launch& launch) {
  UniqueFd file(memfd_create("sallyport-launch", MFD_CLOEXEC));
  if (!file.valid()) return tl::unexpected(Error::FromErrno("memfd_create"));
  const std::string bytes = launch.Encode();
  if (pwrite(file.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return tl::unexpected(Error::FromErrno("writing the launch message"));
  }
  return file;
}

Result<Launch> FromMemoryFile(const UniqueFd& file) {
  struct stat info = {};
  if (fstat(file.get(), &info) != 0) return tl::unexpected(Error::FromErrno("launch message"));
  if (info.st_size > kMaxLaunch) return Fail(Code::kLimit, "the launch message is too large");
  std::string bytes(static_cast<size_t>(info.st_size), '\0');
  if (pread(file.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return tl::unexpected(Error::FromErrno("launch message"));
  }
  return Launch::Decode(bytes);
}

}  // namespace

Status SendLaunch(int control, const LaunchMessage& message) {
  auto file = ToMemoryFile(message.launch);
  if (!file) return tl::unexpected(std::move(file).error());
  std::vector<int> descriptors{file->get(), message.audit.get(), message.values.get(),
                               message.commands.get()};
  for (const UniqueFd& port : message.ports) descriptors.push_back(port.get());
  if (message.capture.valid()) descriptors.push_back(message.capture.get());
  auto sent = SendMessage(control, {&kMark, 1}, descriptors);
  if (!sent) return tl::unexpected(std::move(sent).error().In("the launch message"));
  return {};
}

Result<LaunchMessage> ReceiveLaunch(int control) {
  char mark = 0;
  auto received = ReceiveMessage(control, {&mark, 1}, kDescriptors + kMaxPublishedPorts + 1);
  if (!received) return tl::unexpected(std::move(received).error().In("the launch message"));
  if (received->bytes == 0) {
    return Fail(Code::kNotFound, "the owner ended before it sent a launch message");
  }
  std::vector<UniqueFd>& fds = received->fds;
  if (mark != kMark || received->cut || fds.size() < kDescriptors) {
    return Fail(Code::kInvalid, "what came is no launch message");
  }
  const UniqueFd file = std::move(fds[0]);
  LaunchMessage message{.launch = {},
                        .audit = std::move(fds[1]),
                        .values = std::move(fds[2]),
                        .commands = std::move(fds[3]),
                        .ports = {},
                        .capture = {}};
  auto launch = FromMemoryFile(file);
  if (!launch) return tl::unexpected(std::move(launch).error());
  message.launch = *std::move(launch);
  const size_t ports_end = kDescriptors + message.launch.ports.size();
  if (fds.size() != ports_end && fds.size() != ports_end + 1) {
    return Fail(Code::kInvalid, "a launch message with other descriptors than it says");
  }
  if (fds.size() > ports_end) {
    message.capture = std::move(fds.back());
    fds.pop_back();
  }
  message.ports.assign(std::make_move_iterator(fds.begin() + kDescriptors),
                       std::make_move_iterator(fds.end()));
  return message;
}

std::string Launch::Encode() const {
  CborWriter out;
  out.Array(kLaunchFields);
  out.Text(sandbox);
  out.Int(owner);
  out.Text(policy_text);
  out.Text(policy_name);
  out.Text(policy_folder);
  out.Array(secrets.size());
  for (const auto& secret : secrets) {
    out.Array(2);
    out.Text(secret.name);
    WriteTexts(out, secret.hosts);
  }
  out.Text(hostname);
  out.Array(mounts.size());
  for (const auto& mount : mounts) {
    out.Array(3);
    out.Text(mount.source);
    out.Text(mount.target);
    out.Bool(mount.writable);
  }
  WriteTexts(out, masked);
  WriteFiles(out, templates);
  out.Bool(network);
  out.Bool(learn);
  WriteTexts(out, resolvers);
  WriteFiles(out, extra_roots);
  WriteFiles(out, server_files);
  out.Text(agent_path);
  out.Text(broker_path);
  out.Int(timeout.count());
  out.Array(ports.size());
  for (const uint16_t port : ports) out.Int(port);
  WriteTexts(out, approve_command);
  out.Text(approve_folder);
  out.Text(otlp_url);
  out.Text(otlp_headers);
  return out.Take();
}

Result<Launch> Launch::Decode(std::string_view bytes) {
  CborSequence in(bytes);
  Launch launch;
  in.Expect(kLaunchFields);
  launch.sandbox = in.Text();
  launch.owner = static_cast<uint32_t>(in.Int());
  launch.policy_text = in.Text();
  launch.policy_name = in.Text();
  launch.policy_folder = in.Text();
  for (size_t left = in.Array(); left > 0 && in.ok(); --left) {
    in.Expect(2);
    auto& secret = launch.secrets.emplace_back();
    secret.name = in.Text();
    secret.hosts = in.Texts();
  }
  launch.hostname = in.Text();
  for (size_t left = in.Array(); left > 0 && in.ok(); --left) {
    in.Expect(3);
    auto& mount = launch.mounts.emplace_back();
    mount.source = in.Text();
    mount.target = in.Text();
    mount.writable = in.Bool();
  }
  launch.masked = in.Texts();
  launch.templates = ReadFiles(in);
  launch.network = in.Bool();
  launch.learn = in.Bool();
  launch.resolvers = in.Texts();
  launch.extra_roots = ReadFiles(in);
  launch.server_files = ReadFiles(in);
  launch.agent_path = in.Text();
  launch.broker_path = in.Text();
  launch.timeout = std::chrono::milliseconds(in.Int());
  for (size_t left = in.Array(); left > 0 && in.ok(); --left) {
    launch.ports.push_back(static_cast<uint16_t>(in.Int()));
  }
  launch.approve_command = in.Texts();
  launch.approve_folder = in.Text();
  launch.otlp_url = in.Text();
  launch.otlp_headers = in.Text();
  if (auto status = in.Finish(); !status) {
    return tl::unexpected(std::move(status).error().In("launch message"));
  }
  return launch;
}

std::string Launched::Encode() const {
  CborWriter out;
  out.Array(3);
  out.Text(sandbox);
  out.Text(backend);
  out.Text(link);
  return out.Take();
}

Result<Launched> Launched::Decode(std::string_view bytes) {
  CborSequence in(bytes);
  Launched launched;
  in.Expect(3);
  launched.sandbox = in.Text();
  launched.backend = in.Text();
  launched.link = in.Text();
  if (auto status = in.Finish(); !status) {
    return tl::unexpected(std::move(status).error().In("launched message"));
  }
  return launched;
}

std::string EncodeValues(const std::vector<std::pair<std::string, std::string>>& values) {
  std::string out;
  for (const auto& [name, value] : values) {
    out.append(name).push_back('\0');
    out.append(value).push_back('\0');
  }
  return out;
}

}  // namespace sallyport::runtime
