#include "guest/protocol/messages.h"

#include <cstddef>
#include <functional>
#include <initializer_list>
#include <limits>

#include "guest/protocol/cbor.h"

namespace sallyport::guest {
namespace {

// Bounds on the number of strings, besides the one on their bytes: an empty string takes one byte
// of input and 32 of memory, so 64 Ki of each are 2 MiB.
constexpr size_t kMaxStrings = 65536;
constexpr int kMaxSignal = 64;
constexpr int kMaxExitCode = 255;

constexpr const char* kCut = "a string with a zero byte";

/// One key of a message and what reads its value.
struct Field {
  int64_t key;
  std::function<Status(CborReader&)> read;
};

/// Reads a payload that is one map: each of FIELDS exactly once, others skipped.
Status ReadMap(std::string_view payload, std::initializer_list<Field> fields) {
  CborReader reader(payload);
  const auto pairs = reader.Map();
  if (!pairs) return tl::unexpected(pairs.error());
  std::vector<bool> seen(fields.size());
  size_t found = 0;
  for (size_t i = 0; i < *pairs; ++i) {
    const auto key = reader.Int();
    if (!key) return tl::unexpected(key.error());
    size_t at = 0;
    while (at < fields.size() && (fields.begin() + at)->key != *key) ++at;
    const bool known = at < fields.size();
    if (known && seen[at]) return Fail(Code::kInvalid, "a repeated key");
    Status read = known ? (fields.begin() + at)->read(reader) : reader.Skip();
    if (!read) return read;
    if (!known) continue;
    seen[at] = true;
    ++found;
  }
  if (found != fields.size()) return Fail(Code::kInvalid, "a missing key");
  return reader.End();
}

template <class T>
std::function<Status(CborReader&)> Integer(T& out, int64_t least, int64_t most) {
  return [&out, least, most](CborReader& reader) -> Status {
    const auto value = reader.Int();
    if (!value) return tl::unexpected(value.error());
    if (*value < least || *value > most) return Fail(Code::kInvalid, "a number out of its range");
    out = static_cast<T>(*value);
    return {};
  };
}

std::function<Status(CborReader&)> Boolean(bool& out) {
  return [&out](CborReader& reader) -> Status {
    const auto value = reader.Bool();
    if (!value) return tl::unexpected(value.error());
    out = *value;
    return {};
  };
}

std::function<Status(CborReader&)> AnyText(std::string& out) {
  return [&out](CborReader& reader) -> Status {
    const auto value = reader.Text();
    if (!value) return tl::unexpected(value.error());
    out = *value;
    return {};
  };
}

/// A string that will be handed to the kernel, which would end it at a zero byte.
Result<std::string> KernelString(CborReader& reader) {
  const auto value = reader.Text();
  if (!value) return tl::unexpected(value.error());
  if (value->find('\0') != std::string_view::npos) return Fail(Code::kInvalid, kCut);
  return std::string(*value);
}

Status ReadArguments(CborReader& reader, std::vector<std::string>& out) {
  const auto count = reader.Array();
  if (!count) return tl::unexpected(count.error());
  if (*count == 0) return Fail(Code::kInvalid, "no program to run");
  if (*count > kMaxStrings) return Fail(Code::kLimit, "too many arguments");
  for (size_t i = 0; i < *count; ++i) {
    auto argument = KernelString(reader);
    if (!argument) return tl::unexpected(std::move(argument).error());
    out.push_back(*std::move(argument));
  }
  return {};
}

Status ReadEnvironment(CborReader& reader, std::vector<std::pair<std::string, std::string>>& out) {
  const auto count = reader.Map();
  if (!count) return tl::unexpected(count.error());
  if (*count > kMaxStrings) return Fail(Code::kLimit, "too many variables");
  for (size_t i = 0; i < *count; ++i) {
    auto name = KernelString(reader);
    if (!name) return tl::unexpected(std::move(name).error());
    if (name->empty() || name->find('=') != std::string::npos) {
      return Fail(Code::kInvalid, "a variable whose name is empty or has a '='");
    }
    auto value = KernelString(reader);
    if (!value) return tl::unexpected(std::move(value).error());
    out.emplace_back(*std::move(name), *std::move(value));
  }
  return {};
}

Status ReadFiles(CborReader& reader, std::vector<std::pair<std::string, std::string>>& out) {
  const auto count = reader.Map();
  if (!count) return tl::unexpected(count.error());
  if (*count > kMaxStrings) return Fail(Code::kLimit, "too many files");
  for (size_t i = 0; i < *count; ++i) {
    auto path = KernelString(reader);
    if (!path) return tl::unexpected(std::move(path).error());
    if (!path->starts_with('/') || path->ends_with('/')) {
      return Fail(Code::kInvalid, "a file whose path is not absolute");
    }
    auto content = reader.Text();
    if (!content) return tl::unexpected(content.error());
    out.emplace_back(*std::move(path), *content);
  }
  return {};
}

Status ReadDirectory(CborReader& reader, std::string& out) {
  auto directory = KernelString(reader);
  if (!directory) return tl::unexpected(std::move(directory).error());
  if (!directory->empty() && directory->front() != '/') {
    return Fail(Code::kInvalid, "a working directory that is not absolute");
  }
  out = *std::move(directory);
  return {};
}

Status ReadAddresses(CborReader& reader, std::vector<std::string>& out) {
  const auto count = reader.Array();
  if (!count) return tl::unexpected(count.error());
  if (*count == 0 || *count > Dial::kMaxAddresses) {
    return Fail(Code::kInvalid, "no address, or too many");
  }
  for (size_t i = 0; i < *count; ++i) {
    const auto address = reader.Bytes();
    if (!address) return tl::unexpected(address.error());
    if (address->size() != 4 && address->size() != 16) {
      return Fail(Code::kInvalid, "an address of another length");
    }
    out.emplace_back(*address);
  }
  return {};
}

/// The message that READ filled, or why it did not.
template <class T>
Result<T> Finish(Status read, T message, const char* name) {
  if (!read) return tl::unexpected(std::move(read).error().In(name));
  return message;
}

}  // namespace

std::string Hello::Encode() const {
  CborWriter out;
  out.Map(1);
  out.Int(1);
  out.Int(generation);
  return out.Take();
}

Result<Hello> Hello::Decode(std::string_view payload) {
  Hello hello;
  Status read =
      ReadMap(payload, {{1, Integer(hello.generation, 1, std::numeric_limits<uint32_t>::max())}});
  return Finish(std::move(read), hello, "hello");
}

std::string Trust::Encode() const {
  CborWriter out;
  out.Map(2);
  out.Int(1);
  out.Text(ca_pem);
  out.Int(2);
  out.Text(subject_hash);
  return out.Take();
}

Result<Trust> Trust::Decode(std::string_view payload) {
  Trust trust;
  Status read = ReadMap(payload, {{1, AnyText(trust.ca_pem)}, {2, AnyText(trust.subject_hash)}});
  return Finish(std::move(read), std::move(trust), "trust");
}

std::string Exec::Encode() const {
  CborWriter out;
  out.Map(7);
  out.Int(1);
  out.Array(argv.size());
  for (const std::string& argument : argv) out.Text(argument);
  out.Int(2);
  out.Map(env.size());
  for (const auto& [name, value] : env) {
    out.Text(name);
    out.Text(value);
  }
  out.Int(3);
  out.Text(cwd);
  out.Int(4);
  out.Bool(tty);
  out.Int(5);
  out.Int(rows);
  out.Int(6);
  out.Int(columns);
  out.Int(7);
  out.Map(files.size());
  for (const auto& [path, content] : files) {
    out.Text(path);
    out.Text(content);
  }
  return out.Take();
}

Result<Exec> Exec::Decode(std::string_view payload) {
  Exec exec;
  Status read = ReadMap(
      payload, {{1, [&exec](CborReader& reader) { return ReadArguments(reader, exec.argv); }},
                {2, [&exec](CborReader& reader) { return ReadEnvironment(reader, exec.env); }},
                {3, [&exec](CborReader& reader) { return ReadDirectory(reader, exec.cwd); }},
                {4, Boolean(exec.tty)},
                {5, Integer(exec.rows, 0, std::numeric_limits<uint16_t>::max())},
                {6, Integer(exec.columns, 0, std::numeric_limits<uint16_t>::max())},
                {7, [&exec](CborReader& reader) { return ReadFiles(reader, exec.files); }}});
  return Finish(std::move(read), std::move(exec), "exec");
}

std::string Exit::Encode() const {
  CborWriter out;
  out.Map(2);
  out.Int(1);
  out.Int(code);
  out.Int(2);
  out.Int(signal);
  return out.Take();
}

Result<Exit> Exit::Decode(std::string_view payload) {
  Exit exit;
  Status read = ReadMap(payload, {{1, Integer(exit.code, 0, kMaxExitCode)},
                                  {2, Integer(exit.signal, 0, kMaxSignal)}});
  return Finish(std::move(read), exit, "exit");
}

std::string SignalRequest::Encode() const {
  CborWriter out;
  out.Map(1);
  out.Int(1);
  out.Int(number);
  return out.Take();
}

Result<SignalRequest> SignalRequest::Decode(std::string_view payload) {
  SignalRequest request;
  Status read = ReadMap(payload, {{1, Integer(request.number, 1, kMaxSignal)}});
  return Finish(std::move(read), request, "signal");
}

std::string Resize::Encode() const {
  CborWriter out;
  out.Map(2);
  out.Int(1);
  out.Int(rows);
  out.Int(2);
  out.Int(columns);
  return out.Take();
}

Result<Resize> Resize::Decode(std::string_view payload) {
  constexpr int64_t kMost = std::numeric_limits<uint16_t>::max();
  Resize resize;
  Status read = ReadMap(
      payload, {{1, Integer(resize.rows, 0, kMost)}, {2, Integer(resize.columns, 0, kMost)}});
  return Finish(std::move(read), resize, "resize");
}

std::string Dial::Encode() const {
  CborWriter out;
  out.Map(3);
  out.Int(1);
  out.Int(static_cast<int64_t>(transport));
  out.Int(2);
  out.Int(port);
  out.Int(3);
  out.Array(addresses.size());
  for (const std::string& address : addresses) out.Bytes(address);
  return out.Take();
}

Result<Dial> Dial::Decode(std::string_view payload) {
  Dial dial;
  Status read = ReadMap(
      payload,
      {{1, Integer(dial.transport, 1, 2)},
       {2, Integer(dial.port, 1, std::numeric_limits<uint16_t>::max())},
       {3, [&dial](CborReader& reader) { return ReadAddresses(reader, dial.addresses); }}});
  return Finish(std::move(read), std::move(dial), "dial");
}

std::string ErrorMessage::Encode() const {
  CborWriter out;
  out.Map(2);
  out.Int(1);
  out.Int(exit_code);
  out.Int(2);
  out.Text(message);
  return out.Take();
}

Result<ErrorMessage> ErrorMessage::Decode(std::string_view payload) {
  ErrorMessage error;
  Status read = ReadMap(
      payload, {{1, Integer(error.exit_code, 0, kMaxExitCode)}, {2, AnyText(error.message)}});
  return Finish(std::move(read), std::move(error), "error");
}

}  // namespace sallyport::guest
