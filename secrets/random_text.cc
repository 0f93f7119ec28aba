#include "secrets/random_text.h"

#include <sys/random.h>

#include <array>
#include <cerrno>
#include <utility>

namespace sallyport::secrets {
namespace {

/// getrandom gives up to this many bytes in one piece, whatever signals arrive.
constexpr size_t kBatch = 256;
using Batch = std::array<unsigned char, kBatch>;

Status Fill(Batch& bytes) {
  for (;;) {
    const ssize_t got = getrandom(bytes.data(), bytes.size(), 0);
    if (got == static_cast<ssize_t>(bytes.size())) return {};
    if (got < 0 && errno != EINTR) return tl::unexpected<Error>(Error::FromErrno("getrandom"));
  }
}

}  // namespace

Result<std::string> RandomText(std::string_view alphabet, size_t count) {
  // Bytes from the last, incomplete run of the alphabet are thrown away: they would make its first
  // characters likelier.
  const size_t fair = 256 - 256 % alphabet.size();
  std::string text;
  text.reserve(count);
  Batch bytes{};
  while (text.size() < count) {
    if (Status filled = Fill(bytes); !filled) return tl::unexpected(std::move(filled).error());
    for (const unsigned char byte : bytes) {
      if (text.size() == count) break;
      if (byte < fair) text += alphabet[byte % alphabet.size()];
    }
  }
  return text;
}

}  // namespace sallyport::secrets
