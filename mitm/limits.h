#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

// Every bound of the interceptor in one place. What a guest can make the gate hold is, at worst,
// kMaxConnections times what one connection holds: two heads under construction, one block of input
// and one of output on each side (about 350 KiB while all of them are full, none while idle).

namespace sallyport::mitm {

/// Guest connections of one sandbox.
constexpr size_t kMaxConnections = 4096;

/// A head, with its start line. What servers allow is 8 to 64 KiB.
constexpr size_t kMaxHeadBytes = 64 * 1024;
constexpr size_t kMaxFields = 100;
/// A request target, or any other start line.
constexpr size_t kMaxTargetBytes = 16 * 1024;
constexpr size_t kMaxTrailerBytes = 8 * 1024;
/// A chunk extension; all of them are ignored.
constexpr size_t kMaxChunkExtension = 256;
/// 1xx answers before a final one.
constexpr int kMaxInterimResponses = 16;

/// A ClientHello as it comes over the wire, with its records: BoringSSL takes messages up to 16 KiB,
/// and each record may hold little of one.
constexpr size_t kMaxHelloBytes = 64 * 1024;

/// What is read from a stream at a time: the plaintext of one TLS record.
constexpr size_t kInputBlock = 16 * 1024;
/// Less room than this is none: small pieces cost as much as large ones.
constexpr size_t kMinRoom = 1024;
/// What one exchange moves in one direction before other connections get their turn.
constexpr size_t kTurnBudget = 256 * 1024;
/// What is still read from a guest after an answer that came before its request was complete, so
/// that the answer is not lost to a reset.
constexpr size_t kDrainBytes = 1024 * 1024;
/// A path in the audit log.
constexpr size_t kMaxAuditPath = 512;
constexpr size_t kMaxAuditDetail = 512;

/// Leaf certificates kept (about 700 bytes each).
constexpr size_t kMaxLeaves = 1024;
/// Hosts whose certificates clients refused, for which this is counted.
constexpr size_t kMaxDistrusted = 256;
/// After the first, every so many refusals of one host are one record.
constexpr uint64_t kDistrustEvery = 25;

/// Upstream TLS sessions kept for resumption (about 4 KiB each, with the peer's chain).
constexpr size_t kMaxSessions = 256;
/// Idle upstream connections, for one destination and in all.
constexpr size_t kMaxIdlePerKey = 32;
constexpr size_t kMaxIdle = 256;

using std::chrono::seconds;
/// From a guest's first byte to the end of its TLS handshake.
constexpr seconds kGuestHandshakeTimeout{10};
/// From the first byte of a head to its end; and for the first byte of a connection.
constexpr seconds kHeadTimeout{30};
/// Between two requests of a connection.
constexpr seconds kKeepAliveTimeout{75};
/// Without a byte of a request's body.
constexpr seconds kRequestBodyTimeout{120};
/// From the request (its latest byte) to the head of the answer. Models that think, think long.
constexpr seconds kResponseHeadTimeout{300};
/// Without a byte of an answer's body, or without the guest taking one: event streams are quiet.
constexpr seconds kResponseBodyTimeout{600};
/// Dialling and verifying an upstream, all attempts together.
constexpr seconds kConnectTimeout{30};
constexpr seconds kUpstreamHandshakeTimeout{10};
constexpr seconds kUpstreamIdleTimeout{30};
/// Without a byte in either direction of a flow that is passed through; and once one direction has
/// ended. Longer than what keeps idle connections of clients open.
constexpr seconds kPassthroughIdleTimeout{3600};
constexpr seconds kPassthroughHalfClosedTimeout{600};
/// For a guest to close after an answer that ends the connection.
constexpr seconds kDrainTimeout{5};

}  // namespace sallyport::mitm
