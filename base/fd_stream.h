#pragma once

#include <memory>

#include "base/loop.h"
#include "base/result.h"
#include "base/stream.h"
#include "base/unique_fd.h"

namespace sallyport {

/// A Stream over SOCKET, a connected stream socket, which is made non-blocking. Reads and writes
/// are gathered in blocks that exist only while there is something in them.
///
/// Room() is at least 32 KiB unless the peer reads too slowly; then the listener is told when it
/// has caught up. What is still unsent when the stream is destroyed is sent in the background, for
/// at most ten seconds.
Result<std::unique_ptr<Stream>> MakeFdStream(Loop& loop, UniqueFd socket);

}  // namespace sallyport
