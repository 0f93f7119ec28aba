#include "runtime/warden/dns_service.h"

#include <algorithm>
#include <array>

#include "base/address_class.h"
#include "policy/dns_records.h"
#include "runtime/backend/backend.h"
#include "runtime/dial/own_address.h"
#include "runtime/warden/flow_answers.h"

namespace sallyport::runtime {

using namespace std::chrono_literals;
namespace dns = policy::dns;
using policy::NameTable;

namespace {

constexpr uint32_t kTtl = 30;          // Short: a reload of the policy must take effect.
constexpr size_t kMaxResolving = 512;  // Questions whose answer the resolvers owe us.
constexpr size_t kMaxSessions = 64;
constexpr size_t kMaxReal = 16;  // Addresses in an answer; the dialler tries fewer.
constexpr auto kTcpIdle = 10s;         // RFC 7766, section 6.2.3: in the order of seconds.
constexpr size_t kMaxTcpMessage = 4096;   // A query is far smaller.
constexpr size_t kMaxTcpOutput = 65535 + 2;
constexpr size_t kMaxPipelined = 16;
constexpr size_t kMaxDatagram = 1232;  // Fits any path; what is longer comes over TCP (DNS flag day 2020).

Refusal Because(Reason reason, std::string detail) {
  return {.reason = reason, .detail = std::move(detail), .rule = {}, .how_to_allow = {}};
}

/// What the guest may remember an answer for that is good until EXPIRES.
uint32_t SecondsLeft(Clock::time_point expires, Clock::time_point now) {
  const auto left = std::chrono::duration_cast<std::chrono::seconds>(expires - now);
  return static_cast<uint32_t>(std::clamp<int64_t>(left.count(), 1, kTtl));
}

}  // namespace

/// One TCP connection with length-prefixed queries, answered as their answers come.
class DnsService::TcpSession final : Stream::Listener {
 public:
  TcpSession(DnsService& service, uint64_t id, uint64_t flow, std::unique_ptr<Stream> stream)
      : service_(service), id_(id), flow_(flow), stream_(std::move(stream)) {
    stream_->SetListener(this);
    RestartIdle();
  }

 private:
  void OnStreamReady() override {
    Write();
    std::array<uint8_t, 4096> piece;
    while (open_ < kMaxPipelined) {
      const ReadResult got = stream_->Read(piece);
      if (got.kind == ReadResult::Kind::kWouldBlock) return;
      if (got.kind != ReadResult::Kind::kBytes) {
        ended_ = true;
        return CloseWhenFailed();
      }
      RestartIdle();
      in_.append(reinterpret_cast<const char*>(piece.data()), got.bytes);
      if (!TakeQueries()) return Close();
    }
  }

  /// False when the guest breaks the framing.
  bool TakeQueries() {
    while (in_.size() >= 2) {
      const size_t length = static_cast<size_t>(static_cast<uint8_t>(in_[0])) << 8 | static_cast<uint8_t>(in_[1]);
      if (length == 0 || length > kMaxTcpMessage) return false;
      if (in_.size() < 2 + length) return true;
      const std::string message = in_.substr(2, length);
      in_.erase(0, 2 + length);
      const auto parsed = dns::ParseQuery(message);
      if (parsed.outcome == dns::ParsedQuery::Outcome::kIgnore) return false;
      ++open_;
      service_.Answer(flow_, parsed, [&service = service_, id = id_, query = parsed.query](const dns::Answer& answer) {
        const auto found = service.sessions_.find(id);
        if (found != service.sessions_.end()) found->second->Send(query, answer);
      });
    }
    return true;
  }

  void Send(const dns::Query& query, const dns::Answer& answer) {
    --open_;
    const std::string message = dns::BuildResponse(query, answer, 65535);
    out_ += static_cast<char>(message.size() >> 8);
    out_ += static_cast<char>(message.size() & 0xff);
    out_ += message;
    if (out_.size() > kMaxTcpOutput) return Close();  // It asks and never reads.
    Write();
    CloseWhenFailed();
    if (!ended_) again_ = service_.loop_.Post([this] { OnStreamReady(); });
  }

  void Write() {
    out_.erase(0, stream_->Write(out_));
    stream_->Flush();
  }
  void CloseWhenFailed() {
    if (ended_ && open_ == 0 && out_.empty()) Close();
  }
  void RestartIdle() {
    idle_ = service_.loop_.After(kTcpIdle, [this] { Close(); });
  }
  void Close() {
    // From the loop: the caller may be in the middle of us.
    idle_ = service_.loop_.Post([&service = service_, id = id_] { service.sessions_.erase(id); });
  }

  DnsService& service_;
  const uint64_t id_;
  const uint64_t flow_;
  std::unique_ptr<Stream> stream_;
  std::string in_;
  std::string out_;
  size_t open_ = 0;  // Queries that wait for their answer.
  bool ended_ = false;
  Loop::Handle idle_;
  Loop::Handle again_;
};

DnsService::DnsService(Loop& loop, policy::Engine& engine, SplitResolver& resolver,
                       NameTable& names, policy::AddressNames& addresses, AuditSink& audit,
                       const ParentProxy* parent, Admit admit)
    : loop_(loop),
      engine_(engine),
      resolver_(resolver),
      names_(names),
      addresses_(addresses),
      audit_(audit),
      parent_(parent),
      admit_(std::move(admit)) {}

DnsService::~DnsService() = default;

void DnsService::OnDatagram(const netstack::FlowInfo& flow, std::string_view payload,
                            std::function<void(std::string_view)> reply) {
  const auto parsed = dns::ParseQuery(payload);
  if (parsed.outcome == dns::ParsedQuery::Outcome::kIgnore) return;
  Answer(flow.id, parsed, [query = parsed.query, send = std::move(reply)](const dns::Answer& answer) {
    send(dns::BuildResponse(query, answer, std::min<size_t>(query.udp_size, kMaxDatagram)));
  });
}

void DnsService::Serve(const netstack::FlowInfo& flow, std::unique_ptr<Stream> stream) {
  if (sessions_.size() >= kMaxSessions) return stream->Abort();
  const uint64_t id = next_id_++;
  sessions_.emplace(id, std::make_unique<TcpSession>(*this, id, flow.id, std::move(stream)));
}

void DnsService::Answer(uint64_t flow, const dns::ParsedQuery& parsed, const Reply& reply) {
  const dns::Query& query = parsed.query;
  dns::Answer answer;
  if (parsed.outcome == dns::ParsedQuery::Outcome::kMalformed) {
    answer.rcode = parsed.rcode;
    return reply(answer);
  }
  if (!audit_.healthy()) {
    answer.rcode = dns::Rcode::kRefused;
    answer.extended_error = dns::kEdeProhibited;
    answer.extended_text = "the audit log can't be written";
    return reply(answer);
  }
  const auto name = HostName::Parse(query.name);
  if (!name) {
    answer.rcode = dns::Rcode::kNxDomain;
    Record(flow, query, Because(Reason::kNameNotGranted, "not a host name"));
    return reply(answer);
  }
  const auto verdict = engine_.DecideQuery(*name, {.type = query.type, .chain = {}});
  if (verdict.grantable) {
    if (const auto refusal = admit_(*name, verdict)) return reply(Refused(flow, query, *refusal));
    return AnswerGranted(flow, query, *name, verdict, reply);
  }
  answer = Unlisted(flow, query, *name, verdict.refusal);
  // Names below it exist, so it does, too.
  if (verdict.ancestor && answer.rcode == dns::Rcode::kNxDomain) answer.rcode = dns::Rcode::kNoError;
  reply(answer);
}

void DnsService::AnswerGranted(uint64_t flow, const dns::Query& query, const HostName& name,
                               const policy::NameVerdict& verdict, const Reply& reply) {
  // NODATA: IPv6 that the guest has not, and what would lead past the gate.
  const bool v6 = query.type == dns::kTypeAaaa;
  if (v6 && !engine_.dns().synthesize_v6) return reply(dns::Answer{});
  if (query.type == dns::kTypeHttps || query.type == dns::kTypeSvcb) return reply(dns::Answer{});
  if (const auto refusal = dns::RefuseRecords(name, query.type, verdict)) {
    Record(flow, query, *refusal);
    dns::Answer answer;  // NODATA: the name is there, and has other records.
    answer.extended_error = dns::kEdeBlocked;
    answer.extended_text = refusal->detail;
    return reply(answer);
  }
  if (query.type != dns::kTypeA && !v6) return AnswerRecords(flow, query, name, verdict, reply);
  if (verdict.chosen_target) {
    RecordAllowed(flow, query, verdict);
    return reply(Synthetic(query, name, NameTable::Kind::kGranted));
  }
  if (!HasRoom(flow, query, reply)) return;
  if (auto assigned = resolver_.Assign(name, verdict.resolvers); !assigned) {
    return reply(Overloaded(flow, query, assigned.error().message()));
  }
  const uint64_t id = next_id_++;
  resolving_[id] = resolver_.Resolve(
      name, [this, id, flow, query, name, verdict, reply](Result<ResolvedName> resolved) {
        const Reply send = reply;
        const auto answer = Resolved(flow, query, name, verdict, resolved);
        resolving_.erase(id);
        send(answer);
      });
}

bool DnsService::HasRoom(uint64_t flow, const dns::Query& query, const Reply& reply) {
  if (resolving_.size() < kMaxResolving) return true;
  reply(Overloaded(flow, query, "too many names are being resolved"));
  return false;
}

dns::Answer DnsService::Overloaded(uint64_t flow, const dns::Query& query, const std::string& why) {
  Record(flow, query, Because(Reason::kLimit, why));
  dns::Answer answer;
  answer.rcode = dns::Rcode::kServFail;
  answer.extended_error = dns::kEdeOther;
  answer.extended_text = why;
  return answer;
}

dns::Answer DnsService::Resolved(uint64_t flow, const dns::Query& query, const HostName& name,
                                 policy::NameVerdict verdict,
                                 const Result<ResolvedName>& resolved) {
  // What goes through the host's own proxy need not be known to the host: the proxy resolves it.
  if (resolved || (parent_ != nullptr && parent_->Takes(name))) {
    if (resolved) {
      const auto refusal = JudgeChain(engine_, name, query.type, resolved->chain, verdict);
      if (refusal) return Refused(flow, query, *refusal);
    }
    RecordAllowed(flow, query, verdict);
    return Granted(query, name, verdict, resolved);
  }
  return Failed(flow, query, verdict, resolved.error());
}

dns::Answer DnsService::Failed(uint64_t flow, const dns::Query& query,
                               const policy::NameVerdict& verdict, const Error& error) {
  dns::Answer answer;
  if (error.code() == Code::kNotFound) {
    // A name with other records need not have an address; NXDOMAIN would say that it has neither.
    const bool may_exist = query.type == dns::kTypeA || query.type == dns::kTypeAaaa;
    if (verdict.types.empty() || !may_exist) answer.rcode = dns::Rcode::kNxDomain;
    Record(flow, query, Because(Reason::kNameNotFound, error.message()));
  } else {
    answer.rcode = dns::Rcode::kServFail;
    answer.extended_error = dns::kEdeNoReachableAuthority;
    answer.extended_text = error.message();
    Record(flow, query, Because(Reason::kResolverFailed, error.message()));
  }
  return answer;
}

/// Records of a type that a rule grants. Names in them are data: each is decided when it is looked up.
void DnsService::AnswerRecords(uint64_t flow, const dns::Query& query, const HostName& name,
                               const policy::NameVerdict& verdict, const Reply& reply) {
  if (!HasRoom(flow, query, reply)) return;
  const auto resolver = resolver_.For(verdict.resolvers);
  if (!resolver) return reply(Overloaded(flow, query, resolver.error().message()));
  const uint64_t id = next_id_++;
  resolving_[id] = (*resolver)->ResolveRecords(
      name, query.type,
      [this, id, flow, query, name, verdict, reply](Result<ResolvedRecords> resolved) {
        const Reply send = reply;
        const auto answer = Records(flow, query, name, verdict, resolved);
        resolving_.erase(id);
        send(answer);
      });
}

dns::Answer DnsService::Records(uint64_t flow, const dns::Query& query, const HostName& name,
                                policy::NameVerdict verdict,
                                const Result<ResolvedRecords>& resolved) {
  if (!resolved) return Failed(flow, query, verdict, resolved.error());
  auto refusal = JudgeChain(engine_, name, query.type, resolved->chain, verdict);
  if (!refusal) refusal = dns::RefuseRecords(name, query.type, verdict);  // It may say less now.
  if (refusal) return Refused(flow, query, *refusal);
  RecordAllowed(flow, query, verdict);
  dns::Answer answer;
  answer.ttl = SecondsLeft(resolved->expires, loop_.now());
  answer.records = resolved->data;
  return answer;
}

/// Of a name that is resolved, as far as it can be. Where none of its addresses is admitted, or the guest
/// has no use for their family, it still gets a synthetic one: it leads to those, or says why not.
dns::Answer DnsService::Granted(const dns::Query& query, const HostName& name,
                                const policy::NameVerdict& verdict,
                                const Result<ResolvedName>& resolved) {
  if (verdict.answers.value_or(engine_.dns().answers) == policy::DnsOptions::Answers::kSynthetic) {
    return Synthetic(query, name, NameTable::Kind::kGranted);
  }
  const auto real = RealAddresses(verdict, resolved);
  const bool usable = std::any_of(real.begin(), real.end(), [this](const IpAddress& address) {
    return address.is_v4() || engine_.dns().synthesize_v6;
  });
  if (!usable) return Synthetic(query, name, NameTable::Kind::kGranted);
  dns::Answer answer;
  answer.ttl = SecondsLeft(resolved->expires, loop_.now());
  for (const IpAddress& address : real) {
    if (address.is_v4() != (query.type == dns::kTypeA)) continue;
    answer.addresses.push_back(address);
    addresses_.Learn(name, address, std::chrono::seconds(answer.ttl), loop_.now());
  }
  return answer;
}

/// Those of both families that the guest may be told. Never one that means something else to the guest.
std::vector<IpAddress> DnsService::RealAddresses(const policy::NameVerdict& verdict,
                                                 const Result<ResolvedName>& resolved) const {
  std::vector<IpAddress> real;
  if (!resolved) return real;
  for (const IpAddress& address : resolved->addresses) {
    if (real.size() == kMaxReal) break;
    const IpAddress plain = Unmapped(address);
    const std::string text = plain.ToString();
    const bool link = text == GuestNetwork::kGatewayV4 || text == GuestNetwork::kGatewayV6 ||
                      text == GuestNetwork::kGuestV4 || text == GuestNetwork::kGuestV6;
    if (link || names_.IsSynthetic(plain) || !verdict.filter.AdmitsForName(plain)) continue;
    if (IsOwnAddress(plain)) continue;  // The dialler refuses it.
    real.push_back(plain);
  }
  return real;
}

dns::Answer DnsService::Synthetic(const dns::Query& query, const HostName& name, NameTable::Kind kind) {
  dns::Answer answer;
  const auto family = query.type == dns::kTypeAaaa ? NameTable::Family::kV6 : NameTable::Family::kV4;
  const auto address = names_.Assign(name, kind, family, loop_.now());
  if (!address) {
    answer.rcode = dns::Rcode::kServFail;
    answer.extended_error = dns::kEdeOther;
    answer.extended_text = "too many names are in use";
    return answer;
  }
  answer.addresses.push_back(*address);
  answer.ttl = kind == NameTable::Kind::kGranted ? kTtl : 1;
  return answer;
}

dns::Answer DnsService::Refused(uint64_t flow, const dns::Query& query, const Refusal& refusal) {
  Record(flow, query, refusal);
  dns::Answer answer;
  answer.rcode = dns::Rcode::kRefused;
  answer.extended_error = dns::kEdeProhibited;
  answer.extended_text = refusal.detail;
  return answer;
}

dns::Answer DnsService::Unlisted(uint64_t flow, const dns::Query& query, const HostName& name,
                                 const Refusal& refusal) {
  Refusal told = refusal;
  if (told.reason == Reason::kNameNotGranted) told.detail += "; nothing was asked of a resolver";
  Record(flow, query, told);
  const bool explain = engine_.dns().unlisted == policy::DnsOptions::Unlisted::kExplain;
  if (explain && query.type == dns::kTypeA) return Synthetic(query, name, NameTable::Kind::kUnlisted);
  dns::Answer answer;
  // The name has an address, so that it can be told why it is refused: then other types are NODATA, or
  // a client that asks for both families would take the whole name as not existing.
  const bool address_type = query.type == dns::kTypeAaaa || query.type == dns::kTypeHttps;
  answer.rcode = explain && address_type ? dns::Rcode::kNoError : dns::Rcode::kNxDomain;
  answer.extended_error = dns::kEdeBlocked;
  answer.extended_text = refusal.detail;
  return answer;
}

void DnsService::RecordAllowed(uint64_t flow, const dns::Query& query,
                               const policy::NameVerdict& verdict) {
  AuditRecord record = RecordOf(flow, query);
  record.allowed = true;
  record.learnt = verdict.learnt;
  if (verdict.learnt) record.rule = policy::kLearnRule;
  audit_.Write(record);
}

void DnsService::Record(uint64_t flow, const dns::Query& query, const Refusal& refusal) {
  AuditRecord record = RecordOf(flow, query);
  record.rule = refusal.rule;
  record.sent = refusal.reason == Reason::kNameNotFound || refusal.reason == Reason::kResolverFailed;
  record.reason = refusal.reason;
  record.detail = refusal.detail;
  record.how_to_allow = refusal.how_to_allow;
  audit_.Write(record);
}

AuditRecord DnsService::RecordOf(uint64_t flow, const dns::Query& query) const {
  AuditRecord record;
  record.flow = flow;
  record.transport = "dns";
  record.name = query.name;
  record.method = dns::TypeName(query.type);
  record.port = 53;
  return record;
}

}  // namespace sallyport::runtime
