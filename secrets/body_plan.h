#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/http_message.h"
#include "base/reason.h"
#include "secrets/encodings.h"
#include "secrets/entry.h"
#include "secrets/media_type.h"
#include "secrets/placeholder_index.h"
#include "secrets/store.h"

namespace sallyport::secrets {

/// What placeholders in one request's body come to. The head alone decides it.
struct BodyPlan {
  MediaType type;
  std::vector<std::optional<Refusal>> violations;  ///< By id: why it is not to be replaced.
  bool needed = false;                             ///< Some secret asks that the body be looked at.
  bool keeps_length = false;  ///< Only what takes as many bytes as it replaces is put in.
  bool only_looks = false;    ///< Nothing is put in.
};

BodyPlan MakeBodyPlan(const Entries& entries, const PlaceholderIndex& index,
                      const RequestTarget& target, const RequestHead& request);

/// Whether some value may be put into the body of REQUEST to TARGET.
bool MayChangeBody(const Entries& entries, const RequestTarget& target, const RequestHead& request);

/// How a body of FORMAT spells placeholders, and is to spell values.
Encoding EncodingOf(MediaType::Format format);

/// The filter that carries PLAN out. ENTRIES and INDEX outlive it.
std::unique_ptr<BodyFilter> MakeBodySubstituter(const Entries& entries,
                                                const PlaceholderIndex& index, BodyPlan plan);

}  // namespace sallyport::secrets
