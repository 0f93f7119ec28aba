#pragma once

#include <openssl/base.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/block_pool.h"
#include "base/loop.h"
#include "base/stream.h"
#include "base/turn_flush.h"
#include "mitm/tls_error.h"

namespace sallyport::mitm {

/// TLS over another stream, as either side. What is written is gathered into whole records; what
/// the stream below has no room for stays here, at most one record.
///
/// An end that TLS itself announced (close_notify) is kEnd; a stream below that just stops is
/// kBroken, as somebody in between may have cut it.
class TlsStream final : public Stream, private Stream::Listener {
 public:
  enum class Phase { kHandshake, kOpen, kFailed };
  /// Whether plaintext is overwritten once it is sent: it may hold secrets.
  enum class Plaintext { kOrdinary, kWipe };

  /// SSL is configured and knows its side; ALREADY_READ are bytes that LOWER brought before.
  TlsStream(Loop& loop, bssl::UniquePtr<SSL> ssl, std::unique_ptr<Stream> lower,
            std::string already_read, Plaintext plaintext);
  ~TlsStream() override;

  /// Goes on with the handshake as far as it gets. Called once to begin, and at each
  /// OnStreamReady() until it is over. A failure's alert is sent when the stream is destroyed.
  Phase Handshake();
  /// For a handshake that waits for its caller and reads nothing: whether the peer has gone.
  bool PeerGone();
  /// After kFailed.
  const TlsFailure& failure() const { return failure_; }
  const SSL* ssl() const { return ssl_.get(); }

  void SetListener(Stream::Listener* listener) override;
  ReadResult Read(std::span<uint8_t> buffer) override;
  size_t Room() override;
  size_t Write(std::string_view bytes) override;
  void Flush() override;
  void CloseWrite() override;
  void Abort() override;

 private:
  friend struct TlsStreamBio;

  enum class Closing { kNo, kWanted, kDone };

  void OnStreamReady() override;
  int ReadLower(std::span<uint8_t> buffer);
  void Remember(std::span<const uint8_t> bytes);
  std::optional<int> PlainAlert() const;
  int WriteLower(std::string_view bytes);
  bool Seal(std::string_view bytes);
  bool SealPending();
  void WipePending();
  bool NothingToRead() const;
  void Push();
  void Fail();

  std::unique_ptr<Stream> lower_;  // Outlives ssl_, which writes into it.
  bssl::UniquePtr<SSL> ssl_;
  Loop& loop_;
  Stream::Listener* listener_ = nullptr;
  const Plaintext plaintext_;
  Phase phase_ = Phase::kHandshake;
  TlsFailure failure_;
  std::string already_read_;
  std::array<uint8_t, 7>
      latest_{};              // The latest bytes of the handshake: an alert's record has seven.
  BlockPool::Block pending_;  // Plaintext of the next record.
  size_t pending_size_ = 0;
  bool ended_ = false;   // close_notify was read.
  bool lower_ended_ = false;
  bool lower_drained_ = false;  // It said so, and has told of nothing since.
  bool untold_ = false;
  Closing closing_ = Closing::kNo;
  TurnFlush turn_flush_;
  Loop::Handle tell_;
};

/// What the peer said as it ended TLS on STREAM after the handshake, for a message: a server of
/// TLS 1.3 says only then that it wants another client certificate. Empty where STREAM is no
/// TlsStream, or has not been ended by an alert.
std::string FinalAlert(const Stream& stream);

}  // namespace sallyport::mitm
