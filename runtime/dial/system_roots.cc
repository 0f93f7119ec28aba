#include "runtime/dial/system_roots.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

namespace sallyport::runtime {

UniqueFd OpenSystemRoots() {
  // Where distributions keep them; the first that exists.
  for (const char* path : {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                           "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"}) {
    UniqueFd file(open(path, O_RDONLY | O_CLOEXEC));
    if (file.valid()) return file;
  }
  return {};
}

std::string ReadSystemRoots(UniqueFd file) {
  std::string text;
  std::array<char, 64 * 1024> piece;
  for (ssize_t count; (count = read(file.get(), piece.data(), piece.size())) > 0;) {
    text.append(piece.data(), static_cast<size_t>(count));
  }
  return text;
}

}  // namespace sallyport::runtime
