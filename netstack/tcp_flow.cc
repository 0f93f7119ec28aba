#include "netstack/tcp_flow.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "netstack/tcp_layer.h"
#include "netstack/tcp_list_scope.h"
#include "netstack/tcp_splice.h"
#include "netstack/tcp_stream.h"

extern "C" {
#include "lwip/tcp.h"
}

namespace sallyport::netstack {
namespace {

// A guest that claims to take only tiny segments would have the host cut each frame into thousands.
constexpr uint16_t kLeastSegment = 536;
// Until round trips have been measured, in lwIP's ticks: a second, where lwIP takes three.
constexpr s16_t kFirstTimeout = 1000 / TCP_SLOW_INTERVAL;
// Of a flow; what lies behind is for its beginning and its end.
constexpr size_t kPrefetched = 264;

void PrefetchBytes(const void* start, size_t size) {
  constexpr size_t kLine = 64;
  const auto* bytes = static_cast<const char*>(start);
  for (size_t at = 0; at < size; at += kLine) __builtin_prefetch(bytes + at);
}

}  // namespace

TcpFlow::TcpFlow(TcpLayer& layer, const FlowKey& key, uint64_t id)
    : layer_(layer), sending_(layer.chunk_pool()), id_(id), started_(layer.shared().loop.now()) {
  table_node.key = key;
}

TcpFlow::~TcpFlow() {
  SALLYPORT_CHECK(pcb_ == nullptr && stream_ == nullptr);
}

void TcpFlow::Prefetch() const {
  PrefetchBytes(this, kPrefetched);
  if (pcb_ != nullptr) PrefetchBytes(pcb_, sizeof *pcb_);
}

void TcpFlow::PrefetchListener() const {
  if (stream_ != nullptr) __builtin_prefetch(stream_->listener());
}

FlowStats TcpFlow::stats() const {
  return {.bytes_up = bytes_up_,
          .bytes_down = bytes_down_,
          .duration = std::chrono::duration_cast<std::chrono::microseconds>(
              layer_.shared().loop.now() - started_)};
}

void TcpFlow::Touch() {
  // A flow in service sees for itself what its host's side has just done.
  if (!in_service_) layer_.Touch(*this);
}

// ---- Until the verdict.

void TcpFlow::Decide(const Packet& packet, const TcpSegment& syn) {
  held_syn_ = std::make_unique<HeldSyn>();
  const size_t ip = packet.header_length();
  const size_t size = ip + syn.header.size();  // Data with a SYN is sent again by the guest.
  std::copy_n(packet.whole.begin(), size, held_syn_->bytes.begin());
  held_syn_->packet = packet;
  held_syn_->packet.whole = std::span(held_syn_->bytes).first(size);
  held_syn_->packet.payload = held_syn_->packet.whole.subspan(ip);
  held_syn_->segment = syn;
  held_syn_->segment.header = held_syn_->packet.payload;
  held_syn_->segment.payload = 0;

  layer_.deciding().Enter(*this, deadline_);
  decision_ = layer_.shared().decider.Decide(
      info(), [this](FlowVerdict verdict) { OnVerdict(std::move(verdict)); });
}

void TcpFlow::OnDecisionTimeout() {
  if (!deciding()) return Abort();
  Refuse(DenyFlow::As::kTimedOut);
}

void TcpFlow::OnVerdict(FlowVerdict verdict) {
  if (dead || !deciding()) return;
  deadline_.Leave();
  if (auto* splice = std::get_if<SpliceFlow>(&verdict)) {
    auto made = TcpSplice::Create(layer_.shared().loop, *this, std::move(splice->socket));
    if (!made) {
      // Whoever granted it keeps a note of it until it ends.
      layer_.shared().decider.OnFlowEnd(info(), stats());
      return Refuse(DenyFlow::As::kUnreachable);
    }
    splice_ = std::move(*made);
    meter_ = std::move(splice->meter);
    return Open();
  }
  if (auto* accept = std::get_if<AcceptFlow>(&verdict); accept != nullptr && accept->take) {
    take_ = std::move(accept->take);
    return Open();
  }
  const auto* deny = std::get_if<DenyFlow>(&verdict);
  Refuse(deny ? deny->as : DenyFlow::As::kProhibited);  // ServeFlow is for datagrams.
}

void TcpFlow::Refuse(DenyFlow::As as) {
  ++layer_.shared().stats.tcp_refused;
  const bool unreachable = as == DenyFlow::As::kUnreachable || as == DenyFlow::As::kTimedOut;
  const Packet& packet = held_syn_->packet;
  // Beyond the rate of ICMP errors a reset says as much as is needed: never a hang.
  if (!unreachable || !layer_.shared().icmp.Send(Unreachable::kHost, packet.whole, packet.v6)) {
    const TcpSegment& syn = held_syn_->segment;
    layer_.lwip().Reset(packet, syn.source_port, syn.destination_port, 0, syn.sequence + 1);
  }
  Die();
}

// ---- The connection as lwIP sees it.

void TcpFlow::Open() {
  const std::unique_ptr<HeldSyn> syn = std::move(held_syn_);
  granted_ = true;
  layer_.OnDecided();
  const std::span<uint8_t> header = syn->segment.header;
  pbuf* segment = pbuf_alloc(PBUF_RAW, static_cast<u16_t>(header.size()), PBUF_RAM);
  pbuf_take(segment, header.data(), segment->len);
  layer_.lwip().SetCurrent(syn->packet);
  layer_.lwip().Input(segment, syn->segment.destination_port);
  pcb_ = std::exchange(tcp_active_pcbs, nullptr);
  if (pcb_ == nullptr) {  // lwIP found something wrong with the SYN.
    layer_.lwip().Reset(syn->packet, syn->segment.source_port, syn->segment.destination_port, 0,
                        syn->segment.sequence + 1);
    return Die();
  }

  const StackOptions& options = layer_.shared().options;
  const size_t headers = (syn->packet.v6 ? kIpv6Header : kIpv4Header) + TcpSegment::kMinHeader;
  const auto most = static_cast<uint16_t>(options.mtu - headers);
  segment_size_ = std::clamp(pcb_->mss, kLeastSegment, most);
  lwip_mss_ = layer_.shared().wire.has_offload() ? uint16_t{kSuperSegment} : segment_size_;
  pcb_->mss = lwip_mss_;
  pcb_->rto = pcb_->sv = kFirstTimeout;
  tcp_arg(pcb_, this);
  tcp_recv(pcb_, OnReceived);
  tcp_sent(pcb_, OnAcknowledged);
  tcp_err(pcb_, OnError);
  tcp_nagle_disable(pcb_);
  AfterLwip();
}

void TcpFlow::Input(const Packet& packet, TcpSegment segment, RxBufferPtr& frame) {
  if (deciding()) {
    // Only a reset matters: the guest gave up. Repetitions of the SYN come while it waits.
    if (segment.has(TcpSegment::kRst)) Die();
    return;
  }
  if (dead || pcb_ == nullptr) return;
  __builtin_prefetch(stream_);

  // lwIP's own handling of what exceeds its window is not careful enough for a hostile guest.
  const uint32_t window_end = pcb_->rcv_nxt + pcb_->rcv_wnd;
  const auto excess = static_cast<int32_t>(segment.sequence + segment.length() - window_end);
  if (excess > 0 && segment.length() > 0) {
    const auto inside = static_cast<int32_t>(window_end - segment.sequence);
    segment.Cut(std::min(segment.payload, static_cast<size_t>(std::max(inside, 0))));
  }
  pbuf* chain = layer_.rx_pool().Wrap(segment.whole(), segment.payload, frame);
  if (chain == nullptr) {
    // The acknowledgement in it is still worth having; the payload is sent again.
    layer_.shared().stats.Count(Drop::kMemoryLimit);
    segment.Cut(0);
    chain = layer_.rx_pool().Wrap(segment.whole(), 0, frame);
  }
  layer_.lwip().SetCurrent(packet);
  // lwIP acknowledges every second segment: one at the turn's end says as much, and by then what
  // was received has been passed on and the window is open again.
  const bool hold = established_ && pcb_->state == ESTABLISHED;
  const ListScope scope(*this);
  if (hold) layer_.HoldAcknowledgements();
  layer_.lwip().Input(chain, 0);
  if (!hold) return;
  layer_.ReleaseAcknowledgements();
  if (tcp_active_pcbs != nullptr && (pcb_->flags & TF_ACK_NOW) != 0) layer_.Touch(*this);
}

void TcpFlow::AfterLwip() {
  if (pcb_ == nullptr) {
    layer_.Forget(*this);
  } else {
    // An option in any segment changes it; it must stay what the queued segments were made for.
    pcb_->mss = lwip_mss_;
  }
  if (pcb_ == nullptr || !established_) Touch();
  layer_.SetArmed(*this, TimersNeeded());
}

bool TcpFlow::TimersNeeded() const {
  if (pcb_ == nullptr) return false;
  const tcpflags_t waiting = TF_ACK_DELAY | TF_ACK_NOW | TF_CLOSEPEND | TF_RTO;
  if (pcb_->unacked || pcb_->unsent || pcb_->ooseq || (pcb_->flags & waiting)) return true;
  // In the others nothing happens by itself; FIN_WAIT_2 has our own deadline.
  return pcb_->state != ESTABLISHED && pcb_->state != CLOSE_WAIT && pcb_->state != FIN_WAIT_2;
}

void TcpFlow::Meter(uint64_t up, uint64_t down) {
  if (meter_ == nullptr || meter_->Count(up, down)) return;
  meter_.reset();
  abort_wanted_ = true;  // In Service(): this may be within a call of lwIP's.
}

err_t TcpFlow::OnReceived(void* arg, tcp_pcb*, pbuf* chain, err_t) noexcept {
  auto* flow = static_cast<TcpFlow*>(arg);
  flow->stream_event_ = true;
  flow->Touch();
  if (chain == nullptr) {
    flow->guest_finished_ = flow->end_unanswered_ = true;
    return ERR_OK;
  }
  flow->bytes_up_ += chain->tot_len;
  flow->layer_.shared().stats.bytes_from_guest += chain->tot_len;
  flow->Meter(chain->tot_len, 0);
  flow->unacknowledged_ += chain->tot_len;
  if (flow->lingering_) {
    flow->taken_ += chain->tot_len;
    pbuf_free(chain);
  } else {
    flow->received_.Push(chain);
  }
  return ERR_OK;
}

err_t TcpFlow::OnAcknowledged(void* arg, tcp_pcb*, u16_t size) noexcept {
  auto* flow = static_cast<TcpFlow*>(arg);
  flow->sending_.Acknowledge(size);
  flow->bytes_down_ += size;
  flow->layer_.shared().stats.bytes_to_guest += size;
  flow->Meter(0, size);
  flow->lingered_ += size;
  flow->Touch();
  return ERR_OK;
}

void TcpFlow::OnError(void* arg, err_t error) noexcept {
  auto* flow = static_cast<TcpFlow*>(arg);
  flow->pcb_ = nullptr;
  flow->reset_by_guest_ = error != ERR_CLSD;
  flow->sending_.Clear();
  flow->stream_event_ = true;
  flow->Touch();
}

}  // namespace sallyport::netstack
