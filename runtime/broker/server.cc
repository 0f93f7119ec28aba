#include "runtime/broker/server.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace sallyport::runtime {

bool SendAnswer(int socket, const BrokerAnswer& answer) {
  const Wiped bytes = answer.Encode();
  std::string_view rest = bytes.text;
  while (!rest.empty()) {
    const ssize_t count = send(socket, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    rest.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

Server::Server(UniqueFd socket, Parts parts)
    : socket_(std::move(socket)),
      sources_(std::move(parts.sources)),
      telemetry_(parts.telemetry) {
  fetching_.resize(sources_.size());
  busy_.resize(sources_.size());
  if (parts.channels.empty()) return;
  desk_.emplace(std::move(parts.channels), [this](const BrokerAnswer& answer) { Tell(answer); });
}

Result<std::unique_ptr<Server>> Server::Create(Loop& loop, UniqueFd socket, Parts parts) {
  std::unique_ptr<Server> server(new Server(std::move(socket), std::move(parts)));
  auto watch = loop.Watch(server->socket_.get(), EPOLLIN,
                          [raw = server.get()](uint32_t) { raw->OnReadable(); });
  if (!watch) return tl::unexpected(std::move(watch).error());
  server->watch_ = *std::move(watch);
  return server;
}

void Server::OnReadable() {
  std::array<char, 16 * 1024> bytes;
  const ssize_t size = recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) {
    exit_status_ = 0;  // The warden is gone.
    return;
  }
  reader_.Take({bytes.data(), static_cast<size_t>(size)});
  while (!exit_status_) {
    auto request = reader_.Next();
    if (!request) {
      exit_status_ = 1;
      return;
    }
    if (!*request) return;
    OnRequest(**std::move(request));
  }
}

/// A warden that asks for what was not declared is not ours any more.
void Server::OnRequest(BrokerRequest request) {
  using Kind = BrokerRequest::Kind;
  const bool asks = request.kind == Kind::kAsk || request.kind == Kind::kForget;
  if ((asks && !desk_) || (request.kind == Kind::kTelemetry && telemetry_ == nullptr)) {
    exit_status_ = 1;
    return;
  }
  switch (request.kind) {
    case Kind::kValue:
      return OnValueRequest(request.secret);
    case Kind::kAsk:
      return desk_->Ask(request.id, request.bytes);
    case Kind::kForget:
      return desk_->Forget(request.id);
    case Kind::kTelemetry:
      return telemetry_->Take(request.bytes, request.id);
    case Kind::kFlush:
      return OnFlush(std::chrono::milliseconds(request.id));
  }
}

void Server::OnFlush(std::chrono::milliseconds limit) {
  const auto tell = [this] {
    BrokerAnswer answer;
    answer.kind = BrokerAnswer::Kind::kFlushed;
    Tell(answer);
  };
  if (telemetry_ == nullptr) return tell();
  telemetry_->Flush(limit, tell);
}

void Server::OnValueRequest(uint16_t secret) {
  if (secret >= sources_.size() || busy_[secret]) {
    exit_status_ = 1;
    return;
  }
  busy_[secret] = true;
  fetching_[secret] = {};  // Before the next one begins: it would cancel that.
  fetching_[secret] = sources_[secret]->Fetch(
      [this, secret](Result<Value> value) { OnValue(secret, std::move(value)); });
}

void Server::OnValue(uint16_t secret, Result<Value> value) {
  busy_[secret] = false;
  BrokerAnswer answer;
  answer.secret = secret;
  if (value && value->bytes.text.size() > BrokerAnswer::kMaxBytes)
    value = Fail(Code::kLimit, "the value is longer than 64 KiB");
  if (value) {
    answer.kind = BrokerAnswer::Kind::kValue;
    answer.lifetime = value->lifetime;
    answer.bytes = std::move(value->bytes);
  } else {
    answer.bytes.text = value.error().message().substr(0, BrokerAnswer::kMaxBytes);
  }
  Tell(answer);
}

void Server::Tell(const BrokerAnswer& answer) {
  if (!SendAnswer(socket_.get(), answer)) exit_status_ = 0;
}

}  // namespace sallyport::runtime
