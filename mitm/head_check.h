#pragma once

#include "base/http_message.h"

namespace sallyport::mitm {

/// Whether a head that a hook has seen can be written as it is: nothing in it ends a line or a
/// field early, and no field is one of those that the codecs write.
bool IsWritable(const RequestHead& head);
bool IsWritable(const ResponseHead& head);

/// About what HEADERS take on the wire.
size_t SizeOf(const Headers& headers);

}  // namespace sallyport::mitm
