#pragma once

#include "base/http_message.h"
#include "secrets/entry.h"
#include "secrets/placeholder_index.h"
#include "secrets/store.h"

namespace sallyport::secrets {

/// What Store::ExamineTrailers() does.
Examination ExamineTrailers(const Entries& entries, const PlaceholderIndex& index,
                            const RequestTarget& target, const RequestHead& request,
                            Headers& trailers);

}  // namespace sallyport::secrets
