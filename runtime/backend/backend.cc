#include "runtime/backend/backend.h"

namespace sallyport::runtime {

std::string_view ToString(LinkKind kind) {
  switch (kind) {
    case LinkKind::kNone:
      return "none";
    case LinkKind::kTap:
      return "tap";
    case LinkKind::kPacket:
      return "packet";
  }
  return "unknown";
}

}  // namespace sallyport::runtime
