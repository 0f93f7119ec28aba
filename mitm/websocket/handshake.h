#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/http_message.h"

// The opening handshake of RFC 6455, section 4. The gate makes one of its own with the server.

namespace sallyport::mitm::websocket {

/// The Sec-WebSocket-Key of HEAD if it asks for a WebSocket as RFC 6455, 4.1 says: GET, version 13,
/// one key of 16 bytes. That the connection's fields ask for it is the caller's to check.
std::optional<std::string> KeyOf(const RequestHead& head);

/// A new random key.
std::string MakeKey();

/// The Sec-WebSocket-Accept that answers KEY.
std::string AcceptOf(std::string_view key);

/// What a guest may agree on with a server.
enum class Extensions {
  kAsOffered,  ///< Frames pass as they are.
  kNone,       ///< Messages are looked into, so nothing may change their form.
};

/// Makes HEAD, which asks for a WebSocket, ask with KEY, and for no more than EXTENSIONS.
void PrepareRequest(RequestHead& head, std::string_view key, Extensions extensions);

/// Why HEAD, a 101, is no answer to REQUEST as PrepareRequest() left it with KEY; nothing when it
/// is.
std::optional<std::string> CheckAnswer(const ResponseHead& head, const RequestHead& request,
                                       std::string_view key);

}  // namespace sallyport::mitm::websocket
