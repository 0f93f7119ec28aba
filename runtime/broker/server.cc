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

Server::Server(UniqueFd socket, std::vector<std::unique_ptr<ValueSource>> sources)
    : socket_(std::move(socket)), sources_(std::move(sources)) {
  fetching_.resize(sources_.size());
  busy_.resize(sources_.size());
}

Result<std::unique_ptr<Server>> Server::Create(Loop& loop, UniqueFd socket,
                                               std::vector<std::unique_ptr<ValueSource>> sources) {
  std::unique_ptr<Server> server(new Server(std::move(socket), std::move(sources)));
  auto watch = loop.Watch(server->socket_.get(), EPOLLIN,
                          [raw = server.get()](uint32_t) { raw->OnReadable(); });
  if (!watch) return tl::unexpected(std::move(watch).error());
  server->watch_ = *std::move(watch);
  return server;
}

void Server::OnReadable() {
  std::array<unsigned char, 256> bytes;
  const ssize_t size = recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) {
    exit_status_ = 0;  // The warden is gone.
    return;
  }
  for (ssize_t i = 0; i < size && !exit_status_; ++i) {
    const unsigned char byte = bytes[static_cast<size_t>(i)];
    if (const auto first = std::exchange(half_, std::nullopt)) {
      const unsigned char question[2] = {*first, byte};
      OnQuestion(DecodeQuestion(question));
    } else {
      half_ = byte;
    }
  }
}

void Server::OnQuestion(uint16_t secret) {
  // A warden that asks for what was not declared, or twice at once, is not ours any more.
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
  if (!SendAnswer(socket_.get(), answer)) exit_status_ = 0;
}

}  // namespace sallyport::runtime
