#include "mitm/response_scrub.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "secrets/body_integrity.h"

namespace sallyport::mitm {
namespace {

using content::Coding;
using content::ContentEncoding;
using Lengths = secrets::AnswerFilter::Lengths;

/// What a client accepts as codings inside of a body, which no Content-Encoding tells: of gRPC's
/// and Connect's messages.
constexpr std::array<std::string_view, 2> kInnerCodings{"grpc-accept-encoding",
                                                        "connect-accept-encoding"};

/// The ETag stays, though it names the coded bytes: from here it always stands for the same decoded
/// ones, and a weakened one would fail the conditional writes (If-Match) that it is read for.
void BecomeIdentity(Headers& headers) {
  headers.Remove("content-encoding");
  headers.Remove("accept-ranges");
  secrets::DropBodyDigests(headers);
}

/// Takes away what vouches for a body that was changed.
void RemoveVouchers(Headers& headers) {
  secrets::DropBodyDigests(headers);
  headers.Remove("etag");
}

/// A part says which bytes of the whole it is, so it has as many.
Lengths LengthsOf(const ResponseHead& head) {
  return head.status == 206 ? Lengths::kKept : secrets::LengthsFor(head.headers);
}

Refusal Unsearchable(std::string detail) {
  return {.reason = Reason::kUpstreamProtocol,
          .status = 502,
          .detail = "the server's answer can't be searched for secrets: " + std::move(detail),
          .rule = {},
          .how_to_allow = {}};
}

}  // namespace

void ResponseScrub::Narrow(RequestHead& head) {
  Headers& headers = head.headers;
  const content::AcceptEncoding accepted(headers);
  for (const Coding coding : {Coding::kGzip, Coding::kDeflate, Coding::kBrotli, Coding::kZstd}) {
    if (accepted.AsksFor(coding)) asked_for_.push_back(coding);
  }
  if (holder_ == Holder::kMaybe) {
    headers.Remove("range");
    headers.Remove("if-range");
  }
  // A part of a coded body can't be decoded.
  const std::string narrowed =
      headers.Find("range") != nullptr ? std::string("identity") : accepted.Narrowed();
  const std::string* const field = headers.Find("accept-encoding");
  if (field == nullptr || *field != narrowed || headers.Count("accept-encoding") > 1) {
    headers.Set("accept-encoding", narrowed);
  }
  for (const std::string_view name : kInnerCodings) {
    if (headers.Find(name) != nullptr) headers.Set(name, "identity");
  }
  headers.Remove("a-im");  // Codings of instances, RFC 3229.
}

void ResponseScrub::Scrub(ResponseHead& head) const {
  (void)store_.Scrub(head.headers);
  Headers reason;
  reason.Add("reason", head.reason);
  if (!store_.Scrub(reason)) return;
  const std::string* const scrubbed = reason.Find("reason");
  head.reason = scrubbed != nullptr ? *scrubbed : std::string();
}

std::optional<Refusal> ResponseScrub::Begin(Response& response, AnswerTo answer_to) {
  Scrub(response.head);
  if (holder_ == Holder::kMaybe) response.head.headers.Remove("accept-ranges");
  const int status = response.head.status;
  const ContentEncoding coded = content::ReadContentEncoding(response.head.headers);
  if (status == 204 || status == 304) return std::nullopt;
  if (answer_to == AnswerTo::kHead) {
    // It says what an answer to GET would.
    if (status != 206 && !coded.identity() && AskedFor(coded)) {
      BecomeIdentity(response.head.headers);
      response.body = {};
    }
    return std::nullopt;
  }
  if (response.body.empty()) return std::nullopt;
  FilteredBody::Options options;
  const Lengths lengths = LengthsOf(response.head);
  auto filter = store_.Scrubber(lengths);
  if (!filter) return std::nullopt;
  filter_ = filter.get();
  options.filter = std::move(filter);
  same_length_ = lengths == Lengths::kKept;
  if (!coded.identity()) {
    if (auto refusal = Decode(response, coded, options)) return refusal;
  }
  body_.emplace(std::move(options));
  return std::nullopt;
}

/// Decides what is done about the codings of a body.
std::optional<Refusal> ResponseScrub::Decode(Response& response, const ContentEncoding& coded,
                                             FilteredBody::Options& options) {
  if (response.head.status == 206) {
    if (holder_ == Holder::kMaybe) return Unsearchable("it is a part of a coded body");
    return std::nullopt;
  }
  if (!coded.undecodable.empty()) return Unsearchable("its content coding is " + coded.undecodable);
  options.decoder = std::make_unique<content::ContentDecoder>(coded.codings, memory_);
  decoded_ = AskedFor(coded);
  if (decoded_) {
    BecomeIdentity(response.head.headers);
    same_length_ = false;
  } else {
    options.output = FilteredBody::Output::kOriginal;
    same_length_ = true;
  }
  return std::nullopt;
}

MessageEvent::Kind ResponseScrub::SettleLength(Response& response,
                                               const FilteredBody::Source& source) {
  using Kind = MessageEvent::Kind;
  BodyLength& length = response.body;
  const bool known = length.kind == BodyLength::Kind::kKnown;
  const Kind kind = known && length.bytes > kMaxWholeAnswer
                        ? Kind::kBody
                        : body_->Gather(source, kMaxWholeAnswer);
  if (known && !same_length_) {
    length = kind == Kind::kEnd ? BodyLength{BodyLength::Kind::kKnown, body_->held()}
                                : BodyLength{BodyLength::Kind::kUnknown, 0};
  }
  SettleVouchers(response.head.headers, kind);
  return kind;
}

/// KIND: how far the body was read. Of what is still to come nobody knows whether it changes.
void ResponseScrub::SettleVouchers(Headers& headers, MessageEvent::Kind kind) const {
  if (filter_->changed()) return RemoveVouchers(headers);
  const bool whole = kind == MessageEvent::Kind::kEnd;
  if (!whole && holder_ == Holder::kMaybe) secrets::DropBodyDigests(headers);
}

void ResponseScrub::ScrubTrailers(Headers& trailers) const {
  (void)store_.Scrub(trailers);
  if (filter_ != nullptr && filter_->changed()) RemoveVouchers(trailers);
  if (decoded_) secrets::DropBodyDigests(trailers);
}

bool ResponseScrub::AskedFor(const ContentEncoding& coded) const {
  return coded.undecodable.empty() &&
         std::all_of(coded.codings.begin(), coded.codings.end(), [this](Coding coding) {
           return std::find(asked_for_.begin(), asked_for_.end(), coding) != asked_for_.end();
         });
}

}  // namespace sallyport::mitm
