#include "mitm/upstream_tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <utility>

#include "mitm/limits.h"
#include "mitm/server_certificate.h"
#include "mitm/upstream_trust.h"

namespace sallyport::mitm {
namespace {

// As ALPN writes them, the preferred one first.
constexpr uint8_t kHttp1Only[] = "\x08http/1.1";
constexpr uint8_t kAnyProtocol[] = "\x02h2\x08http/1.1";

/// Sets what the certificate must be for. An address has no SNI.
bool SetExpected(SSL* ssl, const Host& host) {
  X509_VERIFY_PARAM* parameters = SSL_get0_param(ssl);
  if (const auto* address = std::get_if<IpAddress>(&host)) {
    const auto bytes = address->bytes();
    return X509_VERIFY_PARAM_set1_ip(parameters, bytes.data(), bytes.size()) == 1;
  }
  const std::string& name = std::get<HostName>(host).text();
  X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  return X509_VERIFY_PARAM_set1_host(parameters, name.data(), name.size()) == 1 &&
         SSL_set_tlsext_host_name(ssl, name.c_str()) == 1;
}

}  // namespace

Result<std::unique_ptr<UpstreamTls>> UpstreamTls::Create(bssl::UniquePtr<X509_STORE> trusted,
                                                         std::function<std::string()> system_roots,
                                                         ServerTable servers) {
  bssl::UniquePtr<SSL_CTX> context(SSL_CTX_new(TLS_method()));
  if (!context || SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION) != 1 ||
      SSL_CTX_set_alpn_protos(context.get(), kHttp1Only, sizeof kHttp1Only - 1) != 0) {
    ERR_clear_error();
    return Fail(Code::kSystem, "the upstream TLS can't be set up");
  }
  SSL_CTX_set_cert_store(context.get(), trusted.release());
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback(context.get(), VerifyServer, nullptr);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context.get(), OnNewSession);
  std::unique_ptr<UpstreamTls> tls(
      new UpstreamTls(std::move(context), std::move(system_roots), std::move(servers)));
  SSL_CTX_set_app_data(tls->context_.get(), tls.get());
  return tls;
}

UpstreamTls::UpstreamTls(bssl::UniquePtr<SSL_CTX> context,
                         std::function<std::string()> system_roots, ServerTable servers)
    : context_(std::move(context)),
      system_roots_(std::move(system_roots)),
      servers_(std::move(servers)),
      sessions_(kMaxSessions) {}

UpstreamTls::~UpstreamTls() {
  // A stream may live longer than this, and with it the context.
  SSL_CTX_set_app_data(context_.get(), nullptr);
}

void UpstreamTls::ReadSystemRoots() {
  if (!system_roots_) return;
  // Roots that can't be read verify nobody, and the guest is told so by the failed handshake.
  const RootBundle bundle{"of this host", std::exchange(system_roots_, {})()};
  X509_STORE* store = SSL_CTX_get_cert_store(context_.get());
  (void)AddTrustedRoots(bundle, store);
  servers_.AddRoots(store);
}

std::unique_ptr<TlsStream> UpstreamTls::Connect(Loop& loop, std::unique_ptr<Stream> server,
                                                const Host& host, const std::string& session_key,
                                                Protocols protocols) {
  ReadSystemRoots();
  const auto& settings = servers_.For(host);
  bssl::UniquePtr<SSL> ssl(SSL_new(context_.get()));
  if (!ssl || !SetExpected(ssl.get(), host) || !settings->ApplyIdentity(ssl.get()) ||
      (settings->store && SSL_set1_verify_cert_store(ssl.get(), settings->store.get()) != 1)) {
    ERR_clear_error();
    return nullptr;
  }
  auto check = std::make_unique<ServerCheck>();
  check->session_key = session_key;
  check->settings = settings;
  SetServerCheck(ssl.get(), std::move(check));
  SSL_set_connect_state(ssl.get());
  if (protocols == Protocols::kAny) {
    SSL_set_alpn_protos(ssl.get(), kAnyProtocol, sizeof kAnyProtocol - 1);
  }
  if (auto* session = sessions_.Find(session_key)) {
    SSL_set_session(ssl.get(), session->get());
    if (SSL_SESSION_should_be_single_use(session->get()) == 1) sessions_.Remove(session_key);
  }
  return std::make_unique<TlsStream>(loop, std::move(ssl), std::move(server), std::string(),
                                     TlsStream::Plaintext::kWipe);
}

/// Takes SESSION over when it returns 1.
int UpstreamTls::OnNewSession(SSL* ssl, SSL_SESSION* session) {
  auto* self = static_cast<UpstreamTls*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  const ServerCheck* check = ServerCheckOf(ssl);
  if (self == nullptr || check == nullptr) return 0;
  self->sessions_.Put(check->session_key, bssl::UniquePtr<SSL_SESSION>(session));
  return 1;
}

}  // namespace sallyport::mitm
