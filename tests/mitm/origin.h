#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "base/unique_fd.h"
#include "tests/mitm/certificates.h"

namespace sallyport::mitm {

/// A server on a loopback port, with a thread for each connection, written without anything of the
/// gate's: blocking sockets, blocking TLS.
class Origin {
 public:
  class Connection;
  using Handler = std::function<void(Connection&)>;

  struct Tls {
    uint16_t min_version = TLS1_2_VERSION;
    uint16_t max_version = TLS1_3_VERSION;
    const TestCertificate* clients = nullptr;  ///< Who must have issued the client's certificate.
    /// What it speaks, as ALPN writes it, the preferred first; empty: it knows nothing of ALPN.
    std::string alpn = {};
  };
  /// What is usual, and ALPN.
  static Tls Speaking(std::string alpn) {
    Tls tls;
    tls.alpn = std::move(alpn);
    return tls;
  }

  /// Serves HANDLER; over TLS with CERTIFICATE unless that is null, which outlives it.
  Origin(const TestCertificate* certificate, Handler handler, std::string alpn = {})
      : Origin(certificate, std::move(handler), Speaking(std::move(alpn))) {}
  Origin(const TestCertificate* certificate, Handler handler, Tls tls)
      : certificate_(certificate), tls_(std::move(tls)), handler_(std::move(handler)) {
    signal(SIGPIPE, SIG_IGN);  // BoringSSL's socket BIO writes without MSG_NOSIGNAL.
    listener_ = UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
    (void)listen(listener_.get(), 64);
    socklen_t size = sizeof address;
    getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { Accept(); });
  }
  ~Origin() {
    shutdown(listener_.get(), SHUT_RDWR);
    acceptor_.join();
    {
      const std::lock_guard lock(mutex_);
      for (const int fd : open_) shutdown(fd, SHUT_RDWR);
    }
    for (std::thread& thread : threads_) thread.join();
  }

  uint16_t port() const { return port_; }
  /// Plaintext bytes that arrived, over all connections.
  size_t received() const { return received_; }
  int connections() const { return connections_; }
  int resumed() const { return resumed_; }
  /// Connections on which a client certificate was shown.
  int identified() const { return identified_; }

 private:
  void Accept();
  void Serve(UniqueFd fd);

  const TestCertificate* certificate_;
  const Tls tls_;
  const Handler handler_;
  UniqueFd listener_;
  uint16_t port_ = 0;
  std::atomic<size_t> received_{0};
  std::atomic<int> connections_{0};
  std::atomic<int> resumed_{0};
  std::atomic<int> identified_{0};
  bssl::UniquePtr<SSL_CTX> context_;
  std::mutex mutex_;
  std::list<int> open_;
  std::list<std::thread> threads_;
  std::thread acceptor_;

  friend class Connection;
};

/// One connection as its handler sees it.
class Origin::Connection {
 public:
  Connection(Origin& origin, int fd, SSL* ssl) : origin_(origin), fd_(fd), ssl_(ssl) {}

  /// What ALPN agreed on.
  std::string protocol() const {
    const uint8_t* name = nullptr;
    unsigned size = 0;
    if (ssl_ != nullptr) SSL_get0_alpn_selected(ssl_, &name, &size);
    return {reinterpret_cast<const char*>(name), size};
  }
  /// Up to 64 KiB; empty at the end.
  std::string Read() {
    std::string bytes(65536, '\0');
    const ssize_t size = ssl_ != nullptr
                             ? SSL_read(ssl_, bytes.data(), static_cast<int>(bytes.size()))
                             : read(fd_, bytes.data(), bytes.size());
    bytes.resize(size > 0 ? static_cast<size_t>(size) : 0);
    origin_.received_ += bytes.size();
    return bytes;
  }
  /// A head up to its empty line, or nothing at the end.
  std::string ReadHead() {
    for (;;) {
      const size_t end = buffer_.find("\r\n\r\n");
      if (end != std::string::npos) {
        const std::string head = buffer_.substr(0, end + 4);
        buffer_.erase(0, end + 4);
        return head;
      }
      const std::string more = Read();
      if (more.empty()) return {};
      buffer_ += more;
    }
  }
  std::string ReadBytes(size_t size) {
    while (buffer_.size() < size) {
      const std::string more = Read();
      if (more.empty()) break;
      buffer_ += more;
    }
    const std::string bytes = buffer_.substr(0, size);
    buffer_.erase(0, bytes.size());
    return bytes;
  }
  /// The body that HEAD announces, decoded.
  std::string ReadBody(const std::string& head) {
    const size_t length = head.find("Content-Length: ");
    if (length != std::string::npos) {
      return ReadBytes(std::strtoul(head.c_str() + length + 16, nullptr, 10));
    }
    if (head.find("Transfer-Encoding: chunked") == std::string::npos) return {};
    std::string body;
    for (;;) {
      std::string line;
      while (!line.ends_with("\r\n")) {
        const std::string byte = ReadBytes(1);
        if (byte.empty()) return body;
        line += byte;
      }
      const size_t size = std::strtoul(line.c_str(), nullptr, 16);
      body += ReadBytes(size);
      ReadBytes(2);
      if (size == 0) return body;
    }
  }
  void Write(const std::string& bytes) {
    if (ssl_ != nullptr) {
      if (!bytes.empty()) SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()));
      return;
    }
    size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t size = send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (size <= 0) return;
      sent += static_cast<size_t>(size);
    }
  }
  /// 200 with BODY.
  void Answer(const std::string& body) {
    Write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  }
  /// Ends without TLS saying so.
  void Cut() { cut_ = true; }
  bool was_cut() const { return cut_; }

 private:
  Origin& origin_;
  const int fd_;
  SSL* const ssl_;
  std::string buffer_;
  bool cut_ = false;
};

inline void Origin::Accept() {
  if (certificate_ != nullptr) {
    context_.reset(SSL_CTX_new(TLS_method()));
    SSL_CTX_use_certificate(context_.get(), certificate_->certificate.get());
    SSL_CTX_use_PrivateKey(context_.get(), certificate_->key.get());
    SSL_CTX_set_min_proto_version(context_.get(), tls_.min_version);
    SSL_CTX_set_max_proto_version(context_.get(), tls_.max_version);
    if (tls_.clients != nullptr) {
      X509_STORE_add_cert(SSL_CTX_get_cert_store(context_.get()), tls_.clients->certificate.get());
      SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                         nullptr);
    }
    if (!tls_.alpn.empty()) {
      SSL_CTX_set_alpn_select_cb(
          context_.get(),
          [](SSL*, const uint8_t** out, uint8_t* out_size, const uint8_t* in, unsigned in_size,
             void* data) {
            const auto& ours = *static_cast<const std::string*>(data);
            const bool agreed = SSL_select_next_proto(const_cast<uint8_t**>(out), out_size,
                                                      reinterpret_cast<const uint8_t*>(ours.data()),
                                                      static_cast<unsigned>(ours.size()), in,
                                                      in_size) == OPENSSL_NPN_NEGOTIATED;
            return agreed ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
          },
          const_cast<std::string*>(&tls_.alpn));
    }
    const uint8_t id = 1;
    SSL_CTX_set_session_id_context(context_.get(), &id, 1);
  }
  for (;;) {
    UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd.valid()) return;
    ++connections_;
    const std::lock_guard lock(mutex_);
    open_.push_back(fd.get());
    threads_.emplace_back([this, raw = fd.release()] { Serve(UniqueFd(raw)); });
  }
}

inline void Origin::Serve(UniqueFd fd) {
  bssl::UniquePtr<SSL> ssl;
  bool up = true;
  if (context_) {
    ssl.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl.get(), fd.get());
    up = SSL_accept(ssl.get()) == 1;
    if (up && SSL_session_reused(ssl.get())) ++resumed_;
    if (up && bssl::UniquePtr<X509>(SSL_get_peer_certificate(ssl.get()))) ++identified_;
  }
  if (up) {
    Connection connection(*this, fd.get(), ssl.get());
    handler_(connection);
    if (ssl && !connection.was_cut()) SSL_shutdown(ssl.get());
  }
  ERR_clear_error();
  const std::lock_guard lock(mutex_);
  open_.remove(fd.get());
}

}  // namespace sallyport::mitm
