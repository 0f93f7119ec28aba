#pragma once

#include <string>

#include "base/unique_fd.h"

namespace sallyport::runtime {

/// The file with the certificates that the host trusts; nothing where distributions' usual places
/// have none. Before the process confines itself.
UniqueFd OpenSystemRoots();

/// The PEM bundle that FILE holds; empty where it can't be read.
std::string ReadSystemRoots(UniqueFd file);

}  // namespace sallyport::runtime
