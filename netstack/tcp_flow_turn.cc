// What a TcpFlow does at a turn's end.

#include <algorithm>
#include <utility>

#include "netstack/tcp_flow.h"
#include "netstack/tcp_layer.h"
#include "netstack/tcp_list_scope.h"
#include "netstack/tcp_splice.h"
#include "netstack/tcp_stream.h"

extern "C" {
#include "lwip/tcp.h"
}

namespace sallyport::netstack {
namespace {

// While so many pbufs are unacknowledged, small writes wait and are joined: what each costs beside
// its bytes is not in the budget. 16,384 connections can hold 32 small segments and 128 of 4 KiB
// each, of about 250 bytes of overhead: 640 MiB, if their peers help.
constexpr u16_t kManyQueued = 64;
constexpr size_t kWorthWriting = 4096;
// A lingering connection lives on while the guest acknowledges: with send_buffer at its default,
// for at most 64 times linger_timeout.
constexpr uint32_t kLingerProgress = 8 * 1024;
// No congestion on a link without queues: what limits sending is the guest's window alone.
constexpr tcpwnd_size_t kNoCongestion = 0x7fffffff >> 4;

}  // namespace

void TcpFlow::Service() {
  if (dead || deciding()) return;
  in_service_ = true;
  if (!established_ && pcb_ != nullptr && pcb_->state >= ESTABLISHED) OnEstablished();
  ServeHost();
  if (abort_wanted_) {
    Reset();
  } else if (pcb_ != nullptr) {
    Push();
  }
  if (lingering_ && lingered_ >= kLingerProgress) {
    lingered_ = 0;
    deadline_.Refresh();
  }
  in_service_ = false;
  CheckDone();
}

void TcpFlow::OnEstablished() {
  established_ = true;
  pcb_->cwnd = pcb_->ssthresh = kNoCongestion;
  // lwIP makes segments of half the largest window it has seen: of a few bytes that would be more
  // segments than it queues, and nothing would be sent, ever.
  pcb_->snd_wnd_max = std::max<tcpwnd_size_t>(pcb_->snd_wnd_max, 2U * segment_size_);
  decision_ = Pending();
  if (!take_) return;
  auto stream = std::make_unique<TcpStream>(layer_.shared().loop, *this);
  stream_ = stream.get();
  std::exchange(take_, nullptr)(std::move(stream));
}

void TcpFlow::ServeHost() {
  if (reset_by_guest_) return LoseHost();
  if (splice_ && established_) splice_->Pump();
  if (stream_ == nullptr) return;
  const bool event = std::exchange(stream_event_, false);
  if (event || stream_->RoomRegained()) stream_->Notify();
}

// Passes a reset on to the host's side.
void TcpFlow::LoseHost() {
  if (splice_) splice_->Reset();
  if (stream_ != nullptr) std::exchange(stream_, nullptr)->Detach();
  take_ = nullptr;
  received_.Clear();
}

void TcpFlow::Push() {
  const ListScope scope(*this);
  if (established_ && WorthWriting()) WriteToLwip(SIZE_MAX);
  OpenWindow();
  if (finish_wanted_ && !finish_sent_ && established_ && sending_.unwritten() == 0) {
    // Only the sending side: lwIP would answer data that arrives after a full close with a reset,
    // which could overtake the last bytes in the guest.
    finish_sent_ = tcp_shutdown(pcb_, 0, 1) == ERR_OK;
  }
  LetEndWait();
  tcp_output(pcb_);
  AcknowledgeIfDue();
  SplitForSmallWindow();
}

// Nobody waits for the acknowledgement of a lone FIN, and the host's own mostly follows at once: the
// two are one frame then. Else lwIP's timer sends it, as RFC 9293 allows.
void TcpFlow::LetEndWait() {
  if (!std::exchange(end_unanswered_, false)) return;
  if (pcb_->state != CLOSE_WAIT || unacknowledged_ > 0) return;
  if ((pcb_->flags & TF_ACK_NOW) == 0) return;
  tcp_clear_flags(pcb_, TF_ACK_NOW);
  tcp_set_flags(pcb_, TF_ACK_DELAY);
}

bool TcpFlow::WorthWriting() const {
  return pcb_->snd_queuelen < kManyQueued || sending_.unwritten() >= kWorthWriting ||
         finish_wanted_;
}

void TcpFlow::WriteToLwip(size_t limit) {
  size_t left = std::min(limit, sending_.unwritten());
  while (left > 0) {
    const std::span<const uint8_t> bytes = sending_.Unwritten();
    const size_t piece = std::min({bytes.size(), left, kSuperSegment});
    const u8_t more = left > piece ? TCP_WRITE_FLAG_MORE : 0;
    // Refused when too many segments are queued; an acknowledgement brings us back here.
    if (tcp_write(pcb_, bytes.data(), static_cast<u16_t>(piece), more) != ERR_OK) return;
    sending_.MarkWritten(piece);
    left -= piece;
  }
}

void TcpFlow::FlushEarly() {
  const size_t whole = sending_.unwritten() / kSuperSegment * kSuperSegment;
  if (whole == 0 || pcb_ == nullptr) return;
  WriteToLwip(whole);
  tcp_output(pcb_);
}

void TcpFlow::FlushAll() {
  if (pcb_ == nullptr || !WorthWriting()) return;
  WriteToLwip(SIZE_MAX);
  tcp_output(pcb_);
}

void TcpFlow::FlushIfTurnIsOver() {
  if (layer_.turn_is_over()) FlushAll();
}

size_t TcpFlow::Room() {
  if (pcb_ == nullptr || finish_wanted_) return 0;
  const size_t limit = layer_.shared().options.send_buffer;
  if (sending_.size() >= limit) return 0;
  const size_t memory = layer_.shared().budget.left();
  if (memory < sizeof(Chunk) + ChunkPool::kSmall) {
    layer_.Starve(*this);
    return 0;
  }
  return std::min(limit - sending_.size(), memory);
}

void TcpFlow::Finish() {
  finish_wanted_ = true;
  Touch();
}

void TcpFlow::OpenWindow() {
  layer_.HoldAcknowledgements();  // Who calls us has lwIP send what is due.
  while (taken_ > 0) {
    const auto piece = static_cast<u16_t>(std::min<size_t>(taken_, 0xffff));
    tcp_recved(pcb_, piece);
    taken_ -= piece;
  }
  layer_.ReleaseAcknowledgements();
  // lwIP announces a larger window by itself only in steps of 256 KiB, more than the whole window
  // of a guest that doesn't scale it.
  const uint32_t gain = pcb_->rcv_nxt + pcb_->rcv_wnd - pcb_->rcv_ann_right_edge;
  if (gain >= TCP_WND_MAX(pcb_) / 4) {
    pcb_->rcv_ann_wnd = pcb_->rcv_wnd;
    tcp_ack_now(pcb_);
  }
}

// RFC 9293: a full-sized segment's worth is acknowledged at once, less may wait for data to ride
// with or for lwIP's timer. lwIP counts segments, of which one may be 64 KiB here. At first nothing
// waits: a guest that leaves Nagle's algorithm on sends the end of its TLS handshake alone, and the
// request only when that is acknowledged; there may be no data to ride with.
void TcpFlow::AcknowledgeIfDue() {
  if ((pcb_->flags & TF_ACK_DELAY) == 0) {
    unacknowledged_ = 0;
  } else if (unacknowledged_ >= segment_size_ ||
             (unacknowledged_ > 0 && quick_acknowledgements_ > 0)) {
    if (quick_acknowledgements_ > 0) --quick_acknowledgements_;
    unacknowledged_ = 0;
    tcp_ack_now(pcb_);
    tcp_output(pcb_);
  }
}

// A segment larger than the guest's window would wait for lwIP's persist timer.
void TcpFlow::SplitForSmallWindow() {
  if (pcb_->unsent == nullptr || pcb_->unacked != nullptr || pcb_->persist_backoff == 0) return;
  const tcpwnd_size_t window = std::min(pcb_->snd_wnd, pcb_->cwnd);
  if (window == 0 || pcb_->unsent->len <= window) return;
  if (tcp_split_unsent_seg(pcb_, static_cast<u16_t>(window)) == ERR_OK) tcp_output(pcb_);
}

void TcpFlow::OnStreamGone() {
  stream_ = nullptr;
  lingering_ = true;
  lingered_ = 0;
  taken_ += received_.Clear();
  finish_wanted_ = true;
  layer_.lingering().Enter(*this, deadline_);
  Touch();
}

void TcpFlow::OnStreamAborted() {
  stream_ = nullptr;
  Abort();
}

void TcpFlow::Abort() {
  if (dead) return;
  if (deciding()) return Refuse(DenyFlow::As::kProhibited);
  abort_wanted_ = true;
  Touch();
}

void TcpFlow::Reset() {
  LoseHost();
  if (pcb_ != nullptr) {
    const ListScope scope(*this);
    tcp_err(pcb_, nullptr);
    tcp_abort(pcb_);
  }
  sending_.Clear();
}

void TcpFlow::Abandon() {
  LoseHost();
  if (pcb_ != nullptr) {
    const ListScope scope(*this);
    tcp_err(pcb_, nullptr);
    tcp_abandon(pcb_, 0);
  }
  sending_.Clear();
}

void TcpFlow::CheckDone() {
  if (dead || deciding() || pcb_ != nullptr || stream_ != nullptr) return;
  if (!splice_ || splice_->done()) return Die();
  if (waiting_for_host_) return;
  waiting_for_host_ = true;
  layer_.lingering().Enter(*this, deadline_);
}

void TcpFlow::Die() {
  if (dead) return;
  if (deciding()) layer_.OnDecided();
  decision_ = {};  // Now, or a grant that is on its way in this turn would be nobody's.
  deadline_.Leave();
  layer_.OnDead(*this);
}

}  // namespace sallyport::netstack
