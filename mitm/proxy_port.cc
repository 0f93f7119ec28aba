#include "mitm/proxy_port.h"

#include <utility>

#include "base/fd_stream.h"
#include "mitm/deadline.h"
#include "mitm/http1/head_reader.h"
#include "mitm/limits.h"
#include "mitm/prefixed_stream.h"
#include "mitm/proxy_request.h"
#include "mitm/relay.h"
#include "mitm/stream_buffers.h"

// A connection's way, as steps:
//
//     Start -> ReadHead -> OnHead -> OnVerdict -> HandOver (the interceptor)
//                 |                     |
//                 +-> HandOver          +-> Splice -> OnRelayOver
//
// Whatever can't be read is handed over as it came, with a refusal: the interceptor finds the same
// fault, answers it in the client's language (TLS included) and writes the record.
//
// What a guest can make this hold is bounded by kMaxProxyConnections.

namespace sallyport::mitm {
namespace {

constexpr std::string_view kEstablished = "HTTP/1.1 200 Connection Established\r\n\r\n";

/// What a head begins with: a method, or an empty line before it.
bool BeginsHead(char first) {
  return first == '\r' || (first >= 'A' && first <= 'Z');
}

}  // namespace

class ProxyPort::Connection final : Stream::Listener, public Relay::Owner {
 public:
  Connection(ProxyPort& port, std::unique_ptr<Stream> guest, uint64_t flow, const Endpoint& source,
             const Endpoint& address)
      : port_(port),
        flow_(flow),
        source_(source),
        address_(address),
        deadline_(port.services_.loop, [this] { OnDeadline(); }),
        guest_(std::move(guest)),
        input_(port.services_.loop.blocks()),
        began_(port.services_.loop.now()) {}

  ~Connection() {
    if (guest_) guest_->SetListener(nullptr);
    if (relay_) WriteRecord("the sandbox ended");
  }

  /// May destroy this.
  void Start(Connections::iterator place) {
    place_ = place;
    guest_->SetListener(this);
    deadline_.Set(kHeadTimeout);
    ReadHead();
  }

 private:
  void OnStreamReady() override {
    if (asked_) return WatchGuest();
    ReadHead();
  }

  void ReadHead() {
    for (;;) {
      switch (input_.Fill(*guest_)) {
        case ReadResult::Kind::kWouldBlock:
          return;
        case ReadResult::Kind::kEnd:
        case ReadResult::Kind::kBroken:
          return Over();
        case ReadResult::Kind::kBytes:
          break;
      }
      const std::string_view block = input_.rest();
      seen_.append(block);
      if (!BeginsHead(seen_[0])) {  // TLS, or no HTTP at all: not for the reader of heads.
        return Reject("this port is an HTTP proxy that is spoken to without TLS");
      }
      switch (reader_.Feed(input_.rest())) {
        case http1::HeadReader::Outcome::kMore:
          break;
        case http1::HeadReader::Outcome::kError:
          return Reject("the request is not valid HTTP: " + reader_.error().detail);
        case http1::HeadReader::Outcome::kHead:
          return OnHead();
      }
    }
  }

  void OnHead() {
    const std::string rest(input_.rest());
    input_.rest() = {};
    const http1::RawHead head = std::move(reader_.head());
    request_ = ReadProxyRequest(head);
    if (request_.kind == ProxyRequest::Kind::kTunnel) {
      replay_ = ReplayHead(head, request_);
      early_ = rest;
    } else {
      replay_ = ReplayHead(head, request_) + rest;
    }
    seen_.clear();
    seen_.shrink_to_fit();
    if (request_.kind == ProxyRequest::Kind::kBad) {
      seen_ = std::move(replay_);
      return Reject(request_.error);
    }
    deadline_.Clear();  // The decider keeps its own.
    asked_ = true;
    deciding_ = port_.services_.decider.Decide(
        {.flow = flow_,
         .source = source_,
         .form = request_.kind == ProxyRequest::Kind::kTunnel ? ProxyQuestion::Form::kTunnel
                                                              : ProxyQuestion::Form::kRequest,
         .host = *request_.host,
         .port = request_.port},
        [this](ProxyVerdict verdict) { OnVerdict(std::move(verdict)); });
  }

  /// Notices a client that goes away; what it sends meanwhile belongs behind the head.
  void WatchGuest() {
    std::string& behind = request_.kind == ProxyRequest::Kind::kTunnel ? early_ : replay_;
    if (watched_ >= kInputBlock) return;
    const ReadResult::Kind kind = input_.Fill(*guest_);
    if (kind == ReadResult::Kind::kBroken) return Over();
    if (kind != ReadResult::Kind::kBytes) return;
    watched_ += input_.rest().size();
    behind.append(input_.rest());
    input_.rest() = {};
  }

  void OnVerdict(ProxyVerdict verdict) {
    deciding_ = {};
    const bool tunnel = request_.kind == ProxyRequest::Kind::kTunnel;
    if (auto* raw = std::get_if<ProxyRaw>(&verdict)) return Splice(std::move(*raw));
    auto& http = std::get<ProxyHttp>(verdict);
    if (!tunnel || http.refusal) return HandOver(std::move(replay_), std::move(http));
    if (!Establish()) return Over();
    HandOver(std::move(early_), std::move(http));
  }

  bool Establish() {
    if (guest_->Write(kEstablished) != kEstablished.size()) return false;
    guest_->Flush();
    return true;
  }

  void Splice(ProxyRaw raw) {
    auto server = MakeFdStream(port_.services_.loop, std::move(raw.socket));
    record_ = std::move(raw.record);
    if (!server || !Establish()) {
      record_.allowed = false;
      record_.reason = Reason::kUpstreamUnreachable;
      record_.detail = server ? "the client is gone" : server.error().message();
      port_.services_.audit.Write(record_);
      guest_->Abort();
      return Over();
    }
    guest_->SetListener(nullptr);
    auto guest = std::make_unique<PrefixedStream>(port_.services_.loop, std::move(early_),
                                                  std::move(guest_));
    relay_ = std::make_unique<Relay>(port_.services_.loop, std::move(guest), *std::move(server),
                                     Relay::Patience{kRelayIdleTimeout, kRelayIdleTimeout},
                                     std::move(raw.spending), *this);
    input_.Shrink();
    relay_->Start();
  }

  void OnRelayOver() override {
    switch (relay_->outcome()) {
      case Relay::Outcome::kEnded:
        WriteRecord("");
        break;
      case Relay::Outcome::kBroken:
        WriteRecord("the connection was reset");
        break;
      case Relay::Outcome::kIdle:
        WriteRecord("nothing was sent for too long");
        break;
      case Relay::Outcome::kSpent:
        record_.allowed = false;
        record_.reason = relay_->spent()->reason;
        WriteRecord(relay_->spent()->detail);
        break;
    }
    relay_.reset();
    Over();
  }

  void WriteRecord(std::string detail) {
    record_.sent = true;
    record_.bytes_up = relay_->bytes_up();
    record_.bytes_down = relay_->bytes_down();
    record_.duration =
        std::chrono::duration_cast<std::chrono::microseconds>(port_.services_.loop.now() - began_);
    record_.detail = std::move(detail);
    port_.services_.audit.Write(record_);
  }

  void Reject(std::string detail) {
    HttpFlow flow;
    flow.facts.flow = flow_;
    flow.facts.source = source_;
    flow.facts.destination = address_;
    flow.refusal = Refusal{.reason = Reason::kBadRequest,
                           .status = 400,
                           .detail = std::move(detail),
                           .rule = {},
                           .how_to_allow = {}};
    HandOver(std::move(seen_), std::move(flow));
  }

  void HandOver(std::string prefix, HttpFlow flow) {
    guest_->SetListener(nullptr);
    auto stream = std::make_unique<PrefixedStream>(port_.services_.loop, std::move(prefix),
                                                   std::move(guest_));
    Interceptor& interceptor = port_.services_.interceptor;
    Over();  // Destroys this.
    interceptor.Serve(std::move(stream), std::move(flow));
  }

  void OnDeadline() {
    port_.Drop(flow_, address_, Reason::kBadRequest, "the request's head did not arrive in time");
    guest_->Abort();
    Over();
  }

  void Over() { port_.connections_.erase(place_); }

  ProxyPort& port_;
  const uint64_t flow_;
  const Endpoint source_;
  const Endpoint address_;
  Connections::iterator place_;
  Deadline deadline_;
  std::unique_ptr<Stream> guest_;
  InputBuffer input_;
  http1::HeadReader reader_{http1::HeadReader::Kind::kRequest};
  std::string seen_;  // Every byte of the head so far, to hand over what can't be read.
  ProxyRequest request_;
  std::string replay_;  // The request, to be read again behind the decision.
  std::string early_;   // What a tunnel's client sent before it was told that there is one.
  bool asked_ = false;  // The decider has the request.
  size_t watched_ = 0;
  Pending deciding_;
  AuditRecord record_;
  const Clock::time_point began_;
  std::unique_ptr<Relay> relay_;
};

ProxyPort::ProxyPort(const Services& services) : services_(services) {}
ProxyPort::~ProxyPort() = default;

void ProxyPort::Drop(uint64_t flow, const Endpoint& address, Reason reason, const char* detail) {
  AuditRecord record;
  record.flow = flow;
  record.transport = ToString(Transport::kTcp);
  record.address = address.address;
  record.port = address.port;
  record.reason = reason;
  record.detail = detail;
  services_.audit.Write(record);
}

void ProxyPort::Serve(std::unique_ptr<Stream> guest, uint64_t flow, const Endpoint& source,
                      const Endpoint& address) {
  if (connections_.size() >= kMaxProxyConnections) {
    Drop(flow, address, Reason::kLimit, "too many connections to the proxy port are open");
    return guest->Abort();
  }
  connections_.push_back(
      std::make_unique<Connection>(*this, std::move(guest), flow, source, address));
  connections_.back()->Start(std::prev(connections_.end()));  // May end it.
}

}  // namespace sallyport::mitm
