#pragma once

#include <memory>
#include <string>

#include "mitm/content/memory.h"
#include "mitm/filtered_body.h"
#include "mitm/message.h"
#include "secrets/store.h"

namespace sallyport::mitm {

/// How a request's body is sent that secrets may be put into.
struct RequestBodyPlan {
  /// What it is read through; null: it is passed on as it is.
  std::unique_ptr<FilteredBody> body;
  /// The filter in `body`: what it found.
  const secrets::BodyFilter* filter = nullptr;
  /// Why it is passed on as it is, one sentence for the audit log; empty when it is not.
  std::string note;
  /// Its length is to be had by reading it first, up to kMaxBufferedBody (FilteredBody::Gather).
  bool gather = false;
};

/// Whether a filter gives as many bytes as it takes.
enum class FilteredLength { kSame, kOther };

/// Plans for REQUEST, whose body is not empty and is to pass FILTER. A body in known content
/// codings is decoded, and sent without them: REQUEST loses its Content-Encoding and its digests.
/// One in an unknown coding, or too large for what may be decoded, is passed on as it is: a
/// placeholder in it is inert. The length in REQUEST becomes unknown wherever it may change and is
/// not gathered.
RequestBodyPlan PlanRequestBody(std::unique_ptr<secrets::BodyFilter> filter, FilteredLength length,
                                content::DecoderMemory& memory, Request& request);

}  // namespace sallyport::mitm
