#include "mitm/request_body.h"

#include <string_view>
#include <utility>

#include "mitm/content/coding.h"
#include "secrets/body_integrity.h"

namespace sallyport::mitm {
namespace {

/// What is put together, and the output of one step that has one of the largest values in it.
constexpr size_t kReserve = kInputBlock + kSubstituteSlice + kLargestValue;

constexpr std::string_view kUnsearched = "the body was not searched for placeholders: ";

}  // namespace

RequestBodyPlan PlanRequestBody(std::unique_ptr<secrets::BodyFilter> filter, FilteredLength length,
                                content::DecoderMemory& memory, Request& request) {
  const content::ContentEncoding coded = content::ReadContentEncoding(request.head.headers);
  const bool known = request.body.kind == BodyLength::Kind::kKnown;
  RequestBodyPlan plan;
  if (!coded.undecodable.empty()) {
    plan.note = std::string(kUnsearched) + "its content coding is " + coded.undecodable;
    return plan;
  }
  if (!coded.identity() && known && request.body.bytes > kMaxDecodedRequest) {
    plan.note = std::string(kUnsearched) + "it is too large to be decoded";
    return plan;
  }
  plan.filter = filter.get();
  FilteredBody::Options options;
  options.filter = std::move(filter);
  options.slice = kSubstituteSlice;
  options.fill = kInputBlock;
  options.wipe = true;
  if (!plan.filter->only_looks()) options.pauses = FilteredBody::Pauses::kWhenTold;
  if (!coded.identity()) {
    options.decoder = std::make_unique<content::ContentDecoder>(coded.codings, memory);
    options.max_decoded = kMaxDecodedRequest;
    options.max_ratio = kMaxDecodeRatio;
    request.head.headers.Remove("content-encoding");
    secrets::DropBodyDigests(request.head.headers);
  }
  const bool may_change = length == FilteredLength::kOther || !coded.identity();
  plan.gather = may_change && known && request.body.bytes <= kMaxBufferedBody;
  options.reserve = kReserve + (plan.gather ? kMaxBufferedBody : 0);
  if (!may_change && known) options.length = request.body.bytes;
  if (may_change && !plan.gather) request.body = {BodyLength::Kind::kUnknown, 0};
  plan.body = std::make_unique<FilteredBody>(std::move(options));
  return plan;
}

}  // namespace sallyport::mitm
