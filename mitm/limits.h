#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

// Every bound of the interceptor in one place. What a guest can make the gate hold is, at worst,
// kMaxConnections times what one connection holds: two heads under construction, one block of input
// and one of output on each side (about 350 KiB while all of them are full, none while idle). A
// request of HTTP/2 counts like a connection (kMaxStreamsOfGate) and holds about as much. A
// body that passes a filter adds its largest of kMaxBufferedBody, kMaxWholeAnswer and
// kMaxHeldOriginal, and the windows of its decoders, which are bounded for all connections
// together.

namespace sallyport::mitm {

/// Guest connections of one sandbox.
constexpr size_t kMaxConnections = 4096;

/// Connections to the proxy port that are read, decided or relayed there: with two copies of a head
/// and a block of input each, 144 MiB at worst.
constexpr size_t kMaxProxyConnections = 1024;
/// Requests of the policy's own callbacks under way.
constexpr size_t kMaxFetches = 64;

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

/// HTTP/2. Requests under way on one guest connection, and of all HTTP/2 connections of a sandbox
/// together: as many as there may be connections, so that multiplexing makes nothing larger.
constexpr size_t kMaxStreams = 100;
constexpr size_t kMaxStreamsOfGate = kMaxConnections;
/// What a guest may send of a request's body ahead of its server; kept until that takes it. At worst
/// 1 GiB for kMaxStreamsOfGate. The windows of a connection's streams share the connection's.
constexpr size_t kStreamWindow = 256 * 1024;
constexpr size_t kConnectionWindow = 1024 * 1024;
/// What is kept of an answer's body that the guest has no window for: 256 MiB at worst.
constexpr size_t kStreamOutput = 64 * 1024;
/// Fields decoded for one head, kept or not, before its connection ends: a guest that goes on so
/// far beyond kMaxHeadBytes is not one that is told so.
constexpr size_t kMaxDecodedBytes = 4 * kMaxHeadBytes;
/// Frames that wait to be sent, window-blocked data apart: kMaxStreams times head, data, trailers,
/// window update and reset are 500. A guest that has more waiting asks and does not read.
constexpr size_t kMaxQueuedFrames = 1000;
/// A response's head as it is sent, names and values uncompressed, with nghttp2's own reserve.
constexpr size_t kMaxSentHead = 4 * kMaxHeadBytes;

/// A gRPC refusal's message, before it is percent-encoded.
constexpr size_t kMaxGrpcMessage = 2048;
/// A request's body with a Content-Length up to this is read before it is sent, when secrets may be
/// put into it, so that it keeps one: some servers refuse a body of unknown length.
constexpr size_t kMaxBufferedBody = 256 * 1024;
/// The body of a guest's call of a token endpoint: a few parameters, the longest of them a credential.
constexpr size_t kMaxTokenCall = 64 * 1024;
/// So much of an answer's body is looked through before its head goes on, as far as it is there: if
/// that is all, the head says how long it is, and whether what vouches for it still holds.
constexpr size_t kMaxWholeAnswer = 64 * 1024;
/// What a filter that puts secrets in is given at a time. The output of one step is at most this,
/// divided by the shortest placeholder (28 bytes), times the longest value in its rendering.
constexpr size_t kSubstituteSlice = 1024;
/// The largest value of a secret: room for one is kept ready, so that no string grows with it
/// inside.
constexpr size_t kLargestValue = 64 * 1024;
/// Steps of a filtered body that bring nothing, before other connections get their turn.
constexpr int kMaxIdleSteps = 16;
/// What is held back of a coded answer that is only looked through.
constexpr size_t kMaxHeldOriginal = 256 * 1024;

/// Content codings of one message. Two are seen; more are made to cost.
constexpr size_t kMaxCodings = 3;
/// Bytes between two codings in one step of a decoder.
constexpr size_t kMaxDecoderWork = 256 * 1024;
/// zstd windows: 8 MiB, what RFC 9659 allows on the web.
constexpr int kMaxZstdWindowLog = 23;
/// All decoders of an interceptor: 16 of brotli's largest windows, or 60 of its usual ones.
constexpr size_t kMaxDecoderMemory = 256 * 1024 * 1024;
/// A coded request body, decoded: its size, and from kDecodeRatioFrom on how many times its coded
/// size. gzip can't exceed 1032, text rarely reaches 30.
constexpr uint64_t kMaxDecodedRequest = 64 * 1024 * 1024;
constexpr uint64_t kMaxDecodeRatio = 100;
constexpr uint64_t kDecodeRatioFrom = 1024 * 1024;

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

/// HTTP/2 connections to servers: idle ones in all, and those for one target that are opened while
/// the others are full. More requests than these carry wait.
constexpr size_t kMaxSharedIdle = 256;
constexpr size_t kMaxSharedPerTarget = 4;
/// Exchanges under way on one of them; fewer where the server says so.
constexpr size_t kMaxUpstreamStreams = 100;
/// What a server may send before it is read, to one exchange and on one connection: the bound of
/// what waits in memory, and of the speed over a long way (10 MB/s at 100 ms).
constexpr int kUpstreamStreamWindow = 1024 * 1024;
constexpr int kUpstreamConnectionWindow = 16 * 1024 * 1024;
/// What waits of one request's body for the server's window to open.
constexpr size_t kUpstreamStreamOutput = 64 * 1024;
/// Frames in a row that carry nothing of an exchange (PING, SETTINGS, empty DATA, ...).
constexpr int kMaxControlFrames = 1000;
/// Targets whose protocol is remembered (about 150 bytes each).
constexpr size_t kMaxLearntProtocols = 1024;

using std::chrono::seconds;
/// From a guest's first byte to the end of its TLS handshake.
constexpr seconds kGuestHandshakeTimeout{10};
/// For the first byte of a connection: of protocols in which the server speaks first it never comes.
constexpr seconds kFirstByteTimeout{10};
/// From the first byte of a head to its end.
constexpr seconds kHeadTimeout{30};
/// Between two requests of a connection.
constexpr seconds kKeepAliveTimeout{75};
/// Without a byte of a request's body.
constexpr seconds kRequestBodyTimeout{120};
/// What a streamed body ends with for now and may have begun a placeholder is sent after this. Who
/// writes a placeholder in pieces has them together sooner; who waits for an answer waits no longer.
constexpr seconds kHeldPlaceholderTimeout{1};
/// For the whole body of a guest's call of a token endpoint.
constexpr seconds kTokenCallTimeout{30};
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
/// Without a byte in either direction of a tunnel whose content is not looked at. Sessions of SSH
/// and databases are quiet for long.
constexpr seconds kRelayIdleTimeout{2 * 3600};
/// For a request until a full HTTP/2 connection has room for it.
constexpr seconds kUpstreamRoomTimeout{60};
/// A server that has sent nothing for so long while a request was given up gets no more requests
/// on that connection.
constexpr seconds kUpstreamSilence{10};
/// How long a ClientHello that offers HTTP/2 waits for the upstream's protocol. Clients wait longer.
constexpr seconds kProtocolTimeout{8};
/// For a guest to close after an answer that ends the connection.
constexpr seconds kDrainTimeout{5};

}  // namespace sallyport::mitm
