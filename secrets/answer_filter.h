#pragma once

#include "base/byte_filter.h"
#include "base/http_message.h"

namespace sallyport::secrets {

/// Takes values out of the body of one answer, or out of one message. Its Feed() never fails.
class AnswerFilter : public ByteFilter {
 public:
  /// What stands for a value.
  enum class Lengths {
    kMayChange,  ///< The whole placeholder, in the form that the value had.
    kKept,       ///< As many bytes as it replaces: that, cut or repeated.
  };

  /// Whether something was replaced so far.
  bool changed() const { return changed_; }

 protected:
  bool changed_ = false;
};

/// What a body whose head has HEADERS needs. Kept is the length in everything that is not known to
/// be text: gRPC and Connect (each message behind its size), protobuf (each string behind its
/// size), git's packet lines, archives, images. Of a body without a type nothing is known that a
/// length could break, so it gets placeholders that can be used; one with two types keeps lengths.
AnswerFilter::Lengths LengthsFor(const Headers& headers);

}  // namespace sallyport::secrets
