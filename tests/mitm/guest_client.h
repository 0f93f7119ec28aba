#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/loop.h"
#include "base/stream.h"

namespace sallyport::mitm {

/// A client in the guest: plain or TLS over one end of a stream, driven by the loop. Its TLS is
/// BoringSSL over memory, without anything of the gate's.
class GuestClient final : public Stream::Listener {
 public:
  struct Options {
    bool tls = true;
    std::string sni = "api.test";     ///< Empty: none is sent.
    std::string verify = "api.test";  ///< What the certificate must be for; empty: not verified.
    std::string trusted = {};         ///< PEM of the authority it trusts.
    uint16_t max_version = TLS1_3_VERSION;
    uint16_t min_version = TLS1_VERSION;
    std::string alpn = "\x08http/1.1";
    bool ech_grease = false;  ///< As browsers do.
    std::string ech_configs = {};  ///< An ECHConfigList: `sni` goes encrypted.
    SSL_SESSION* session = nullptr;  ///< To be resumed.
    bool early_data = false;
    /// Changes what is sent on the wire, as long as the handshake has not been answered.
    std::function<std::string(std::string)> rewrite_hello = {};
  };

  GuestClient(std::unique_ptr<Stream> stream, Options options)
      : stream_(std::move(stream)), options_(std::move(options)) {
    if (options_.tls) StartTls();
    stream_->SetListener(this);
  }

  void Send(std::string_view bytes) {
    unsent_.append(bytes);
    Pump();
  }
  /// Closes the sending direction, with close_notify where TLS is used.
  void CloseWrite() {
    if (ssl_) SSL_shutdown(ssl_.get());
    Pump();
    stream_->CloseWrite();
  }
  void Abort() { stream_->Abort(); }

  bool up() const { return !ssl_ || up_; }
  bool ended() const { return ended_; }    ///< The gate finished properly.
  bool broken() const { return broken_; }  ///< It did not.
  const std::string& failure() const { return failure_; }
  /// Plaintext that was not sent yet.
  size_t unsent() const { return unsent_.size(); }
  SSL* ssl() { return ssl_.get(); }
  std::string received;
  std::vector<bssl::UniquePtr<SSL_SESSION>> tickets;  ///< What the gate gave, the oldest first.
  bool reading = true;

  void OnStreamReady() override { Pump(); }

  void Pump() {
    if (reading) ReadWire();
    if (ssl_) PumpTls();
    WriteWire();
  }

 private:
  void StartTls() {
    context_.reset(SSL_CTX_new(TLS_method()));
    SSL_CTX_set_session_cache_mode(context_.get(),
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_app_data(context_.get(), this);
    SSL_CTX_sess_set_new_cb(context_.get(), [](SSL* ssl, SSL_SESSION* session) noexcept {
      auto* self = static_cast<GuestClient*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
      self->tickets.emplace_back(session);
      return 1;
    });
    SSL_CTX_set_min_proto_version(context_.get(), options_.min_version);
    SSL_CTX_set_max_proto_version(context_.get(), options_.max_version);
    if (!options_.verify.empty()) {
      bssl::UniquePtr<BIO> bio(
          BIO_new_mem_buf(options_.trusted.data(), static_cast<int>(options_.trusted.size())));
      bssl::UniquePtr<X509> root(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
      if (root) X509_STORE_add_cert(SSL_CTX_get_cert_store(context_.get()), root.get());
      SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
    }
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_enable_ech_grease(ssl_.get(), options_.ech_grease ? 1 : 0);
    if (!options_.ech_configs.empty()) SSL_set1_ech_config_list(ssl_.get(),
                             reinterpret_cast<const uint8_t*>(options_.ech_configs.data()),
                             options_.ech_configs.size());
    if (options_.session != nullptr) SSL_set_session(ssl_.get(), options_.session);
    SSL_set_early_data_enabled(ssl_.get(), options_.early_data ? 1 : 0);
    X509_VERIFY_PARAM* parameters = SSL_get0_param(ssl_.get());
    if (!options_.verify.empty() &&
        X509_VERIFY_PARAM_set1_ip_asc(parameters, options_.verify.c_str()) != 1) {
      X509_VERIFY_PARAM_set1_host(parameters, options_.verify.data(), options_.verify.size());
    }
    ERR_clear_error();
    if (!options_.sni.empty()) SSL_set_tlsext_host_name(ssl_.get(), options_.sni.c_str());
    if (!options_.alpn.empty()) {
      SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const uint8_t*>(options_.alpn.data()),
                          static_cast<unsigned>(options_.alpn.size()));
    }
    from_wire_ = BIO_new(BIO_s_mem());
    to_wire_ = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(from_wire_, -1);
    SSL_set_bio(ssl_.get(), from_wire_, to_wire_);
    SSL_set_connect_state(ssl_.get());
  }

  void ReadWire() {
    uint8_t buffer[4096];
    for (;;) {
      const ReadResult result = stream_->Read(buffer);
      if (result.kind == ReadResult::Kind::kWouldBlock) return;
      if (result.kind == ReadResult::Kind::kBytes) {
        answered_ = true;
        if (ssl_) {
          BIO_write(from_wire_, buffer, static_cast<int>(result.bytes));
        } else {
          received.append(reinterpret_cast<char*>(buffer), result.bytes);
        }
        continue;
      }
      wire_over_ = true;
      if (!ssl_) (result.kind == ReadResult::Kind::kEnd ? ended_ : broken_) = true;
      return;
    }
  }

  void PumpTls() {
    if (!up_ && failure_.empty()) {
      const int result = SSL_do_handshake(ssl_.get());
      if (result == 1) {
        up_ = true;
      } else if (SSL_get_error(ssl_.get(), result) == SSL_ERROR_SSL) {
        failure_ = ERR_reason_error_string(ERR_peek_error());
        ERR_clear_error();
      }
    }
    if (up_) {
      while (!unsent_.empty()) {
        const int size = SSL_write(ssl_.get(), unsent_.data(), static_cast<int>(unsent_.size()));
        if (size <= 0) break;
        unsent_.erase(0, static_cast<size_t>(size));
      }
      ReadTls();
    }
    const uint8_t* bytes = nullptr;
    size_t size = 0;
    BIO_mem_contents(to_wire_, &bytes, &size);
    std::string out(reinterpret_cast<const char*>(bytes), size);
    BIO_reset(to_wire_);
    if (!out.empty() && !answered_ && options_.rewrite_hello) out = options_.rewrite_hello(out);
    wire_ += out;
    if (wire_over_ && !ended_) broken_ = true;
  }

  void ReadTls() {
    char buffer[4096];
    for (;;) {
      const int size = SSL_read(ssl_.get(), buffer, sizeof buffer);
      if (size > 0) {
        received.append(buffer, static_cast<size_t>(size));
        continue;
      }
      if (SSL_get_error(ssl_.get(), size) == SSL_ERROR_ZERO_RETURN) ended_ = true;
      ERR_clear_error();
      return;
    }
  }

  void WriteWire() {
    std::string& out = ssl_ ? wire_ : unsent_;
    out.erase(0, stream_->Write(out));
  }

  std::unique_ptr<Stream> stream_;
  const Options options_;
  bssl::UniquePtr<SSL_CTX> context_;
  bssl::UniquePtr<SSL> ssl_;
  BIO* from_wire_ = nullptr;
  BIO* to_wire_ = nullptr;
  std::string unsent_;  // Plaintext.
  std::string wire_;    // Ciphertext.
  bool up_ = false;
  bool answered_ = false;
  bool wire_over_ = false;
  bool ended_ = false;
  bool broken_ = false;
  std::string failure_;
};

/// The handshake message of one record, spread over records of SIZE bytes.
inline std::string SplitRecord(const std::string& record, size_t size) {
  std::string out;
  for (size_t at = 5; at < record.size(); at += size) {
    const std::string part = record.substr(at, size);
    out += record.substr(0, 3);
    out += static_cast<char>(part.size() >> 8);
    out += static_cast<char>(part.size() & 0xff);
    out += part;
  }
  return out;
}

}  // namespace sallyport::mitm
