#include "mitm/tls_stream.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

// BoringSSL reads and writes the stream below through a BIO. A record is only sealed when the
// stream below has room for all of it, so a write never stops in the middle of one: BoringSSL would
// then insist on the very same bytes in the next call.

namespace sallyport::mitm {
namespace {

constexpr size_t kRecord = 16 * 1024;
constexpr BlockPool::Size kRecordBlock = BlockPool::Size::k16KiB;
static_assert(BlockPool::BytesOf(kRecordBlock) == kRecord);
// A full record on the wire, with whatever else BoringSSL may have to send before it.
constexpr size_t kSealedRecord = kRecord + 1024;
// Nobody has anything to say while its ClientHello is not answered.
constexpr size_t kKeptWhileWaiting = 4096;

}  // namespace

/// The functions that BoringSSL calls.
struct TlsStreamBio {
  static int Read(BIO* bio, char* buffer, int size) noexcept {
    BIO_clear_retry_flags(bio);
    const auto bytes = reinterpret_cast<uint8_t*>(buffer);
    const int result = StreamOf(bio).ReadLower({bytes, static_cast<size_t>(size)});
    if (result < 0) BIO_set_retry_read(bio);
    if (result > 0) StreamOf(bio).Remember({bytes, static_cast<size_t>(result)});
    return result;
  }
  static int Write(BIO* bio, const char* bytes, int size) noexcept {
    BIO_clear_retry_flags(bio);
    const int result = StreamOf(bio).WriteLower({bytes, static_cast<size_t>(size)});
    if (result <= 0) BIO_set_retry_write(bio);
    return result > 0 ? result : -1;
  }
  static long Control(BIO*, int command, long, void*) noexcept {
    return command == BIO_CTRL_FLUSH ? 1 : 0;
  }
  static TlsStream& StreamOf(BIO* bio) { return *static_cast<TlsStream*>(BIO_get_data(bio)); }

  static const BIO_METHOD* Method() {
    static BIO_METHOD* const method = [] {
      BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
      BIO_meth_set_read(made, Read);
      BIO_meth_set_write(made, Write);
      BIO_meth_set_ctrl(made, Control);
      return made;
    }();
    return method;
  }
};

TlsStream::TlsStream(Loop& loop, bssl::UniquePtr<SSL> ssl, std::unique_ptr<Stream> lower,
                     std::string already_read, Plaintext plaintext)
    : lower_(std::move(lower)),
      ssl_(std::move(ssl)),
      loop_(loop),
      plaintext_(plaintext),
      already_read_(std::move(already_read)),
      turn_flush_(loop, [this] { Flush(); }) {
  BIO* bio = BIO_new(TlsStreamBio::Method());
  SALLYPORT_CHECK(bio != nullptr);
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_mode(ssl_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  lower_->SetListener(this);
}

TlsStream::~TlsStream() {
  if (phase_ == Phase::kOpen) {
    closing_ = closing_ == Closing::kDone ? Closing::kDone : Closing::kWanted;
    Push();
    // What can't be handed over any more must not look like a complete message.
    if (closing_ != Closing::kDone) lower_->Abort();
  }
  WipePending();
  lower_->SetListener(nullptr);
}

TlsStream::Phase TlsStream::Handshake() {
  if (phase_ != Phase::kHandshake) return phase_;
  const int result = SSL_do_handshake(ssl_.get());
  switch (OutcomeOf(ssl_.get(), result)) {
    case TlsOutcome::kDone:
      phase_ = Phase::kOpen;
      break;
    case TlsOutcome::kWouldBlock:
      break;
    case TlsOutcome::kEnd:
    case TlsOutcome::kFailed:
      Fail();
      break;
  }
  lower_->Flush();
  return phase_;
}

bool TlsStream::PeerGone() {
  uint8_t block[256];
  while (already_read_.size() < kKeptWhileWaiting) {
    const ReadResult result = lower_->Read(block);
    if (result.kind == ReadResult::Kind::kWouldBlock) return false;
    if (result.kind != ReadResult::Kind::kBytes) return true;
    already_read_.append(reinterpret_cast<const char*>(block), result.bytes);
  }
  return false;
}

/// Keeps the end of what the handshake has read.
void TlsStream::Remember(std::span<const uint8_t> bytes) {
  if (phase_ != Phase::kHandshake) return;
  const auto end = bytes.last(std::min(bytes.size(), latest_.size()));
  std::copy(latest_.begin() + end.size(), latest_.end(), latest_.begin());
  std::copy(end.begin(), end.end(), latest_.end() - end.size());
}

/// A client of TLS 1.3 may refuse our certificate before it encrypts, as OpenSSL does. BoringSSL
/// takes that alert for a damaged record; for saying why the handshake failed it is good enough.
std::optional<int> TlsStream::PlainAlert() const {
  constexpr std::array<uint8_t, 6> kFatalAlert{SSL3_RT_ALERT, 3, 3, 0, 2, SSL3_AL_FATAL};
  if (phase_ != Phase::kHandshake || failure_.kind != TlsFailure::Kind::kProtocol)
    return std::nullopt;
  if (!std::equal(kFatalAlert.begin(), kFatalAlert.end(), latest_.begin())) return std::nullopt;
  return latest_.back();
}

void TlsStream::Fail() {
  failure_ = TakeTlsFailure(ssl_.get(), lower_ended_);
  if (const auto alert = PlainAlert()) failure_ = FailureOfAlert(*alert);
  phase_ = Phase::kFailed;
}

void TlsStream::SetListener(Stream::Listener* listener) {
  listener_ = listener;
  tell_ = {};
  if (listener_ != nullptr && std::exchange(untold_, false)) {
    tell_ = loop_.Post([this] { OnStreamReady(); });
  }
}

void TlsStream::OnStreamReady() {
  lower_drained_ = false;
  if (pending_size_ > 0 || closing_ == Closing::kWanted) Push();
  if (listener_ == nullptr) {
    untold_ = true;
    return;
  }
  listener_->OnStreamReady();  // May destroy this.
}

int TlsStream::ReadLower(std::span<uint8_t> buffer) {
  if (!already_read_.empty()) {
    const size_t size = std::min(buffer.size(), already_read_.size());
    std::memcpy(buffer.data(), already_read_.data(), size);
    already_read_.erase(0, size);
    return static_cast<int>(size);
  }
  const ReadResult result = lower_->Read(buffer);
  switch (result.kind) {
    case ReadResult::Kind::kBytes:
      lower_drained_ = result.drained;
      return static_cast<int>(result.bytes);
    case ReadResult::Kind::kWouldBlock:
      return -1;
    case ReadResult::Kind::kEnd:
      lower_ended_ = true;
      return 0;
    case ReadResult::Kind::kBroken:
      break;
  }
  return 0;
}

int TlsStream::WriteLower(std::string_view bytes) {
  return static_cast<int>(lower_->Write(bytes));
}

/// Whether BoringSSL would only find out that nothing has arrived, which it is slow at. It takes no
/// more from below than the record that it is at.
bool TlsStream::NothingToRead() const {
  return lower_drained_ && already_read_.empty() && SSL_has_pending(ssl_.get()) == 0;
}

ReadResult TlsStream::Read(std::span<uint8_t> buffer) {
  if (phase_ == Phase::kHandshake) return {ReadResult::Kind::kWouldBlock};
  size_t filled = 0;
  while (phase_ == Phase::kOpen && !ended_ && filled < buffer.size() && !NothingToRead()) {
    const size_t wanted = std::min(buffer.size() - filled, kRecord);
    const int result = SSL_read(ssl_.get(), buffer.data() + filled, static_cast<int>(wanted));
    const TlsOutcome outcome = OutcomeOf(ssl_.get(), result);
    if (outcome == TlsOutcome::kWouldBlock) break;
    if (outcome == TlsOutcome::kDone) filled += static_cast<size_t>(result);
    if (outcome == TlsOutcome::kEnd) ended_ = true;
    if (outcome == TlsOutcome::kFailed) Fail();
  }
  if (filled > 0) return {ReadResult::Kind::kBytes, filled};
  if (phase_ == Phase::kFailed) return {ReadResult::Kind::kBroken};
  return {ended_ ? ReadResult::Kind::kEnd : ReadResult::Kind::kWouldBlock};
}

size_t TlsStream::Room() {
  if (phase_ != Phase::kOpen || closing_ != Closing::kNo) return 0;
  return (lower_->Room() / kSealedRecord + 1) * kRecord - pending_size_;
}

size_t TlsStream::Write(std::string_view bytes) {
  if (phase_ != Phase::kOpen || closing_ != Closing::kNo) return 0;
  size_t taken = 0;
  while (taken < bytes.size()) {
    const std::string_view rest = bytes.substr(taken);
    if (pending_size_ == 0 && rest.size() >= kRecord) {
      if (Seal(rest.substr(0, kRecord))) {
        taken += kRecord;
        continue;
      }
      if (phase_ != Phase::kOpen) return taken;
    }
    const size_t size = std::min(rest.size(), kRecord - pending_size_);
    if (!pending_) pending_ = loop_.blocks().Take(kRecordBlock);
    std::memcpy(pending_.get() + pending_size_, rest.data(), size);
    pending_size_ += size;
    taken += size;
    if (pending_size_ == kRecord && !SealPending()) break;
  }
  if (pending_size_ > 0) turn_flush_.Arm();
  return taken;
}

/// Hands BYTES, at most a record of them, to the stream below; all or nothing.
bool TlsStream::Seal(std::string_view bytes) {
  if (lower_->Room() < kSealedRecord) return false;
  const int result = SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
  if (result == static_cast<int>(bytes.size())) return true;
  Fail();  // The stream below has failed, or took less than it said.
  return false;
}

bool TlsStream::SealPending() {
  if (!Seal({reinterpret_cast<const char*>(pending_.get()), pending_size_})) return false;
  WipePending();
  return true;
}

void TlsStream::WipePending() {
  if (plaintext_ == Plaintext::kWipe) OPENSSL_cleanse(pending_.get(), pending_size_);
  pending_size_ = 0;
}

/// Moves what waits here into the stream below, as far as there is room.
void TlsStream::Push() {
  if (phase_ != Phase::kOpen) return;
  if (pending_size_ > 0 && !SealPending()) return;
  pending_.reset();  // Idle connections hold no buffers.
  if (closing_ != Closing::kWanted) return;
  closing_ = Closing::kDone;
  SSL_shutdown(ssl_.get());  // Sends close_notify; there is nothing to do if that fails.
  ERR_clear_error();
  lower_->CloseWrite();
}

void TlsStream::Flush() {
  Push();
  lower_->Flush();
}

void TlsStream::CloseWrite() {
  if (closing_ != Closing::kNo) return;
  if (phase_ != Phase::kOpen) {
    lower_->CloseWrite();
    return;
  }
  closing_ = Closing::kWanted;
  Flush();
}

void TlsStream::Abort() {
  phase_ = Phase::kFailed;
  failure_ = {TlsFailure::Kind::kClosed, 0, "aborted"};
  lower_->Abort();
}

std::string FinalAlert(const Stream& stream) {
  const auto* tls = dynamic_cast<const TlsStream*>(&stream);
  if (tls == nullptr || tls->failure().kind != TlsFailure::Kind::kAlert) return {};
  return "the server ended TLS: " + tls->failure().detail;
}

}  // namespace sallyport::mitm
