#include "runtime/warden/launch.h"

#include "guest/protocol/cbor.h"

namespace sallyport::runtime {

using guest::CborReader;
using guest::CborWriter;

namespace {

constexpr size_t kLaunchFields = 13;

void WriteTexts(CborWriter& out, const std::vector<std::string>& texts) {
  out.Array(texts.size());
  for (const auto& text : texts) out.Text(text);
}

/// Reads a fixed sequence of items and remembers the first failure, so that the fields stand as a list.
class Sequence {
 public:
  explicit Sequence(std::string_view bytes) : reader_(bytes) {}

  std::string Text() {
    const auto text = Take(reader_.Text());
    return std::string(text);
  }
  int64_t Int() { return Take(reader_.Int()); }
  bool Bool() { return Take(reader_.Bool()); }
  size_t Array() { return Take(reader_.Array()); }

  std::vector<std::string> Texts() {
    std::vector<std::string> texts;
    for (size_t left = Array(); left > 0 && status_; --left) texts.push_back(Text());
    return texts;
  }

  void Expect(size_t elements) {
    if (Array() != elements && status_) status_ = Fail(Code::kInvalid, "wrong number of fields");
  }
  bool ok() const { return status_.has_value(); }

  Status Finish() {
    if (status_) status_ = reader_.End();
    return std::move(status_);
  }

 private:
  template <class T>
  T Take(Result<T> item) {
    if (item) return *item;
    if (status_) status_ = tl::unexpected(std::move(item).error());
    return T{};
  }

  CborReader reader_;
  Status status_;
};

}  // namespace

std::string Launch::Encode() const {
  CborWriter out;
  out.Array(kLaunchFields);
  out.Text(sandbox);
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
  out.Bool(network);
  WriteTexts(out, resolvers);
  out.Array(extra_roots.size());
  for (const auto& [name, pem] : extra_roots) {
    out.Array(2);
    out.Text(name);
    out.Text(pem);
  }
  out.Text(agent_path);
  out.Int(timeout.count());
  return out.Take();
}

Result<Launch> Launch::Decode(std::string_view bytes) {
  Sequence in(bytes);
  Launch launch;
  in.Expect(kLaunchFields);
  launch.sandbox = in.Text();
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
  launch.network = in.Bool();
  launch.resolvers = in.Texts();
  for (size_t left = in.Array(); left > 0 && in.ok(); --left) {
    in.Expect(2);
    auto& root = launch.extra_roots.emplace_back();
    root.first = in.Text();
    root.second = in.Text();
  }
  launch.agent_path = in.Text();
  launch.timeout = std::chrono::milliseconds(in.Int());
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
  Sequence in(bytes);
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
