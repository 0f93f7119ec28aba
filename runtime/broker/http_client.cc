// One request, as steps; every end leaves through Finish():
//
//     Start -> OnDialed -> (handshake) -> Send -> Read … -> Finish

#include "runtime/broker/http_client.h"

#include <memory>
#include <utility>

#include "base/fd_stream.h"
#include "mitm/http1/response_parser.h"
#include "mitm/http1/writer.h"
#include "mitm/stream_buffers.h"

namespace sallyport::runtime {

namespace {

constexpr size_t kMaxBody = size_t{64} * 1024;

Destination DestinationOf(const HttpUrl& url, bool private_network) {
  Destination destination{.host = url.host, .port = url.port, .filter = {}};
  if (!private_network) return destination;
  const auto add = [&](AddressClass kind) {
    destination.filter.classes =
        static_cast<uint16_t>(destination.filter.classes | static_cast<uint16_t>(kind));
  };
  add(AddressClass::kPrivate);
  add(AddressClass::kLoopback);  // For literals only: AdmitsForName() never lets a name be
                                 // loopback.
  const auto* name = std::get_if<HostName>(&url.host);
  // RFC 6761, 6.3: not a name to ask a server for.
  if (name != nullptr && name->text() == "localhost")
    destination.host = IpAddress::V4(127, 0, 0, 1);
  // Written down by the user: it may also be the host itself.
  const auto* address = std::get_if<IpAddress>(&destination.host);
  if (address != nullptr && destination.filter.Admits(*address)) {
    destination.filter.prefixes.emplace_back(*address, address->is_v4() ? 32 : 128);
  }
  return destination;
}

}  // namespace

HttpRequest::~HttpRequest() {
  for (auto& field : headers.fields()) secrets::WipeString(field.value);
}

class HttpClient::Exchange final : private Stream::Listener {
 public:
  Exchange(HttpClient& client, HttpRequest request, std::function<void(Result<HttpAnswer>)> done)
      : client_(client),
        request_(std::move(request)),
        done_(std::move(done)),
        input_(client.loop_.blocks()) {}
  ~Exchange() {
    if (stream_) stream_->SetListener(nullptr);
  }

  void Start() {
    deadline_ = client_.loop_.After(
        request_.deadline, [this] { Finish(Fail(Code::kTimeout, "it did not answer in time")); });
    dialing_ =
        client_.dialer_.Dial(DestinationOf(request_.url, request_.private_network), Transport::kTcp,
                             [this](Result<Dialed> dialed) { OnDialed(std::move(dialed)); });
  }

 private:
  void OnDialed(Result<Dialed> dialed) {
    if (!dialed) return Finish(tl::unexpected(std::move(dialed).error()));
    auto socket = MakeFdStream(client_.loop_, std::move(dialed->socket));
    if (!socket) return Finish(tl::unexpected(std::move(socket).error()));
    if (!request_.url.tls) {
      stream_ = *std::move(socket);
      stream_->SetListener(this);
      return Send();
    }
    auto tls = client_.tls_.Connect(client_.loop_, *std::move(socket), request_.url.host,
                                    request_.url.Authority(), mitm::Protocols::kHttp1);
    if (!tls) return Finish(Fail(Code::kUntrusted, "no certificate can be verified for it"));
    tls_ = tls.get();
    stream_ = std::move(tls);
    stream_->SetListener(this);
    Handshake();
  }

  void Handshake() {
    switch (tls_->Handshake()) {
      case mitm::TlsStream::Phase::kHandshake:
        return;
      case mitm::TlsStream::Phase::kOpen:
        tls_ = nullptr;
        return Send();
      case mitm::TlsStream::Phase::kFailed:
        return Finish(Fail(Code::kUntrusted, "TLS failed: " + tls_->failure().detail));
    }
  }

  void Send() {
    RequestHead head;
    head.method = "POST";
    head.scheme = request_.url.tls ? "https" : "http";
    head.authority = request_.url.Authority();
    const size_t query = request_.url.target.find('?');
    head.path = request_.url.target.substr(0, query);
    if (query != std::string::npos) head.query = request_.url.target.substr(query + 1);
    head.headers = std::move(request_.headers);
    Wiped bytes;
    bytes.text.reserve(kMaxHead + request_.body.text.size());
    mitm::http1::AppendRequestHead(head, head.authority,
                                   {mitm::BodyLength::Kind::kKnown, request_.body.text.size()},
                                   bytes.text);
    for (auto& field : head.headers.fields()) secrets::WipeString(field.value);
    bytes.text.append(request_.body.text);
    output_.emplace(*stream_);
    output_->Write(bytes.text);
    stream_->Flush();
    parser_.Begin("POST");
    Read();
  }

  void OnStreamReady() override {
    if (tls_ != nullptr) return Handshake();
    output_->Drain();
    Read();
  }

  void Read() {
    for (;;) {
      mitm::MessageEvent event = parser_.Next(input_.rest(), kMaxBody);
      if (event.kind == mitm::MessageEvent::Kind::kWouldBlock) {
        const auto filled = input_.Fill(*stream_);
        if (filled == ReadResult::Kind::kBytes) continue;
        if (filled == ReadResult::Kind::kWouldBlock) return;
        event = filled == ReadResult::Kind::kEnd
                    ? parser_.ConnectionEnded()
                    : mitm::MessageEvent{mitm::MessageEvent::Kind::kBroken, {}};
      }
      if (Take(event)) return;
    }
  }

  /// Whether that was the last.
  bool Take(const mitm::MessageEvent& event) {
    switch (event.kind) {
      case mitm::MessageEvent::Kind::kHead:
        if (parser_.response().interim()) return false;
        answer_.status = parser_.response().head.status;
        answer_.headers = std::move(parser_.response().head.headers);
        answer_.body.text.reserve(kMaxBody);
        return false;
      case mitm::MessageEvent::Kind::kBody:
        if (answer_.body.text.size() + event.piece.size() > kMaxBody) {
          Finish(Fail(Code::kLimit, "its answer is larger than 64 KiB"));
          return true;
        }
        answer_.body.text.append(event.piece);
        return false;
      case mitm::MessageEvent::Kind::kEnd:
        Finish(std::move(answer_));
        return true;
      case mitm::MessageEvent::Kind::kError:
        Finish(Fail(Code::kInvalid, "its answer is not valid HTTP: " + parser_.error().detail));
        return true;
      case mitm::MessageEvent::Kind::kWouldBlock:
      case mitm::MessageEvent::Kind::kBroken:
        break;
    }
    Finish(Fail(Code::kUnreachable, "it closed the connection before its answer was complete"));
    return true;
  }

  void Finish(Result<HttpAnswer> result) {
    deadline_ = {};
    dialing_ = {};
    // Whoever asked may keep us for a while; what the server still says is for nobody.
    if (stream_) stream_->SetListener(nullptr);
    const auto done = std::move(done_);
    if (result) return done(std::move(result));  // May destroy this.
    done(tl::unexpected(std::move(result).error().In(
        request_.called.empty() ? request_.url.ToString() : request_.called)));
  }

  static constexpr size_t kMaxHead = 16 * 1024;

  HttpClient& client_;
  HttpRequest request_;
  std::function<void(Result<HttpAnswer>)> done_;
  HttpAnswer answer_;
  Pending dialing_;
  std::unique_ptr<Stream> stream_;
  mitm::TlsStream* tls_ = nullptr;  // stream_, while it shakes hands.
  std::optional<mitm::OutputBuffer> output_;
  mitm::InputBuffer input_;
  mitm::http1::ResponseParser parser_;
  Loop::Handle deadline_;
};

Pending HttpClient::Post(HttpRequest request, std::function<void(Result<HttpAnswer>)> done) {
  auto exchange = std::make_shared<Exchange>(*this, std::move(request), std::move(done));
  exchange->Start();
  return Pending([owned = std::move(exchange)]() mutable { owned.reset(); });
}

}  // namespace sallyport::runtime
