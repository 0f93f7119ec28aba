#include "runtime/warden/control_message.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstddef>

#include "base/descriptor_message.h"
#include "guest/protocol/cbor.h"

namespace sallyport::runtime {
namespace {

using guest::CborReader;
using guest::CborWriter;

void WriteTexts(CborWriter& out, const std::vector<std::string>& texts) {
  out.Array(texts.size());
  for (const std::string& text : texts) out.Text(text);
}

Result<std::vector<std::string>> ReadTexts(CborReader& in) {
  auto count = in.Array();
  if (!count) return tl::unexpected(std::move(count).error());
  std::vector<std::string> texts;
  for (size_t i = 0; i < *count; ++i) {
    auto text = in.Text();
    if (!text) return tl::unexpected(std::move(text).error());
    texts.emplace_back(*text);
  }
  return texts;
}

Status ExpectFields(CborReader& in, size_t fields) {
  auto count = in.Array();
  if (!count) return tl::unexpected(std::move(count).error());
  if (*count != fields) return Fail(Code::kInvalid, "wrong number of fields");
  return {};
}

Status ReadRows(CborReader& in, std::vector<std::vector<std::string>>& rows) {
  auto count = in.Array();
  if (!count) return tl::unexpected(std::move(count).error());
  for (size_t i = 0; i < *count; ++i) {
    auto row = ReadTexts(in);
    if (!row) return tl::unexpected(std::move(row).error());
    rows.push_back(*std::move(row));
  }
  return {};
}

}  // namespace

std::string ControlRequest::Encode() const {
  CborWriter out;
  out.Array(2);
  out.Text(verb);
  WriteTexts(out, arguments);
  return out.Take();
}

Result<ControlRequest> ControlRequest::Decode(std::string_view bytes) {
  CborReader in(bytes);
  if (auto fields = ExpectFields(in, 2); !fields) return tl::unexpected(std::move(fields).error());
  auto verb = in.Text();
  if (!verb) return tl::unexpected(std::move(verb).error());
  auto arguments = ReadTexts(in);
  if (!arguments) return tl::unexpected(std::move(arguments).error());
  if (auto end = in.End(); !end) return tl::unexpected(std::move(end).error());
  return ControlRequest{std::string(*verb), *std::move(arguments)};
}

std::string ControlReply::Encode() const {
  CborWriter out;
  out.Array(3);
  out.Bool(done);
  out.Text(text);
  out.Array(rows.size());
  for (const auto& row : rows) WriteTexts(out, row);
  return out.Take();
}

Result<ControlReply> ControlReply::Decode(std::string_view bytes) {
  CborReader in(bytes);
  ControlReply reply;
  if (auto fields = ExpectFields(in, 3); !fields) return tl::unexpected(std::move(fields).error());
  auto done = in.Bool();
  if (!done) return tl::unexpected(std::move(done).error());
  auto text = in.Text();
  if (!text) return tl::unexpected(std::move(text).error());
  reply.done = *done;
  reply.text = *text;
  if (auto rows = ReadRows(in, reply.rows); !rows) return tl::unexpected(std::move(rows).error());
  if (auto end = in.End(); !end) return tl::unexpected(std::move(end).error());
  return reply;
}

std::string ControlSocketName(uid_t owner, std::string_view sandbox) {
  return "sallyport/" + std::to_string(owner) + "/" + std::string(sandbox);
}

std::optional<ControlAddress> ControlAddressOf(uid_t owner, std::string_view sandbox) {
  const std::string text = ControlSocketName(owner, sandbox);
  ControlAddress address;
  address.name.sun_family = AF_UNIX;
  if (text.size() + 1 > sizeof address.name.sun_path) return std::nullopt;
  text.copy(address.name.sun_path + 1, text.size());
  address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  return address;
}

Result<UniqueFd> ListenForControl(uid_t owner, std::string_view sandbox) {
  UniqueFd listener(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener.valid()) return tl::unexpected(Error::FromErrno("control socket"));
  const auto address = ControlAddressOf(owner, sandbox);
  if (!address) return Fail(Code::kInvalid, "the sandbox's id is too long");
  if (bind(listener.get(), reinterpret_cast<const sockaddr*>(&address->name), address->size) != 0) {
    if (errno == EADDRINUSE) return Fail(Code::kDenied, "the control socket's name is taken");
    return tl::unexpected(Error::FromErrno("control socket"));
  }
  if (listen(listener.get(), 16) != 0) return tl::unexpected(Error::FromErrno("control socket"));
  return listener;
}

Status SendControl(int socket, std::string_view packet, const UniqueFd& attached) {
  const int fd = attached.get();
  auto sent = SendMessage(socket, packet, {&fd, attached.valid() ? 1u : 0u});
  if (!sent) return tl::unexpected(std::move(sent).error().In("speaking to the sandbox"));
  return {};
}

Result<ControlPacket> ReceiveControl(int socket) {
  ControlPacket packet;
  packet.bytes.resize(kMaxControlPacket);
  auto message = ReceiveMessage(socket, packet.bytes, 1);
  if (!message) {
    return tl::unexpected(std::move(message).error().In("listening to the other side"));
  }
  if (message->bytes == 0) return Fail(Code::kNotFound, "the other side ended the conversation");
  if (message->cut) return Fail(Code::kInvalid, "too long a packet");
  if (message->fds.size() > 1) return Fail(Code::kInvalid, "a packet with too many descriptors");
  if (!message->fds.empty()) packet.attached = std::move(message->fds.front());
  packet.bytes.resize(message->bytes);
  return packet;
}

}  // namespace sallyport::runtime
