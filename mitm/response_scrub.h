#pragma once

#include <optional>
#include <vector>

#include "mitm/content/coding.h"
#include "mitm/content/memory.h"
#include "mitm/filtered_body.h"
#include "mitm/message.h"
#include "secrets/store.h"

namespace sallyport::mitm {

/// Keeps the values of secrets out of the answers to one request. Exists only where a secret is to
/// be scrubbed; without one, answers pass as they are.
///
/// What the guest gets of a body:
/// - Of text, or without a type: scrubbed. How long that is shows only at its end, so it has a
///   Content-Length only if all of it, up to 64 KiB, is there when its head is.
/// - Of any other type (gRPC, an archive), or a part (206): scrubbed, as many bytes as came.
/// - In codings that the guest asked for: decoded and then as above, without Content-Encoding,
///   Accept-Ranges and digests, and with a Content-Length as text has it.
/// - In codings that it did not ask for (a .tar.gz labelled so): the coded bytes, looked through:
///   cut off where they show a secret.
/// - In a coding without a decoder: nothing, 502. So is a part in a coding, from a host that may
///   hold a secret.
///
/// What vouches for a body (ETag, Content-MD5, Digest, Content-Digest, Repr-Digest, stores'
/// checksums) goes where a value was replaced in it, as far as that is known while the head can
/// still be changed: all of the body, up to 64 KiB, is there with it, or the value is in what is
/// there. Behind that:
/// - Digests go, if the host may hold a secret: a client takes a wrong one for damage, and does
///   without one. From any other host they stay, and a client that compares sees the change.
/// - The ETag stays. Most answers have no value in them, and without it their clients have no
///   conditional requests; from here it always stands for the same bytes.
/// Trailers are written behind the body, so what vouches in them is exact.
class ResponseScrub {
 public:
  /// Whether the request's host may hold a secret.
  enum class Holder { kNo, kMaybe };

  /// Both outlive it.
  ResponseScrub(const secrets::Store& store, content::DecoderMemory& memory, Holder holder)
      : store_(store), memory_(memory), holder_(holder) {}

  /// Changes HEAD, which the policy has allowed, so that the answer can be scrubbed:
  /// Accept-Encoding names only what can be decoded, Range and If-Range are not sent to a host that
  /// may hold a secret (two parts could share a value), nor encodings inside of bodies.
  void Narrow(RequestHead& head);

  /// Scrubs an answer's fields and reason phrase; all there is to do for an interim one.
  void Scrub(ResponseHead& head) const;

  enum class AnswerTo { kHead, kOther };
  /// Prepares for RESPONSE, the final one, and changes its head to what the guest gets. A refusal
  /// when it can't be scrubbed.
  std::optional<Refusal> Begin(Response& response, AnswerTo answer_to);

  /// After Begin(): what the answer's body is read through; null when it has none.
  FilteredBody* body() { return body_ ? &*body_ : nullptr; }

  /// After Begin(), once, if there is a body: says in RESPONSE what is known of the length that the
  /// guest gets, and takes away what does not vouch for it any more, reading ahead what is there
  /// already. kError or kBroken if that fails.
  MessageEvent::Kind SettleLength(Response& response, const FilteredBody::Source& source);

  /// Scrubs the trailers of an answer.
  void ScrubTrailers(Headers& trailers) const;

 private:
  std::optional<Refusal> Decode(Response& response, const content::ContentEncoding& coded,
                                FilteredBody::Options& options);
  void SettleVouchers(Headers& headers, MessageEvent::Kind kind) const;
  bool AskedFor(const content::ContentEncoding& coded) const;

  const secrets::Store& store_;
  content::DecoderMemory& memory_;
  const Holder holder_;
  std::vector<content::Coding> asked_for_;
  std::optional<FilteredBody> body_;
  const secrets::AnswerFilter* filter_ = nullptr;  // Of body_.
  bool decoded_ = false;                           // The guest gets the body without its codings.
  bool same_length_ = false;                       // The guest gets as many bytes as came.
};

}  // namespace sallyport::mitm
