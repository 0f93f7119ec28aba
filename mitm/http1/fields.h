#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/http_message.h"
#include "mitm/message.h"

namespace sallyport::mitm::http1 {

/// What the fields of one hop said, once they are taken out of a head.
struct HopFields {
  bool chunked = false;
  std::optional<uint64_t> content_length;
  bool close = false;       ///< Connection: close.
  bool keep_alive = false;  ///< Connection: keep-alive; means something in HTTP/1.0.
  bool upgrade = false;     ///< Connection: upgrade.
  /// What Upgrade names; empty where there is none, or more than one field.
  std::string upgrade_to;
  bool expects_continue = false;
  bool accepts_trailers = false;    ///< TE: trailers.
  std::string trailers;             ///< What Trailer names, but for what may not stand there.
  std::optional<std::string> host;  ///< Requests.
};

enum class Side { kRequest, kResponse };

/// Takes every field that concerns only this hop out of HEADERS: Host, framing, Connection and
/// what a response lists in it, Keep-Alive, Proxy-*, TE, Trailer, Upgrade, Expect. What remains is
/// end to end. An error for framing that two servers could read differently, more than one
/// Host, an expectation that is not 100-continue, a request's field that is one of these but for
/// '_' in place of '-' (Transfer_Encoding), and for a request's Connection field that names
/// anything but the well-known options: no field's meaning may depend on where it is read.
std::optional<ProtocolError> TakeHopFields(Side side, int minor_version, Headers& headers,
                                           HopFields& hop);

/// Whether NAME belongs to framing, routing or the connection: a field that is ours to write, in a
/// head as well as in trailers.
bool IsHopField(std::string_view name);

/// Whether NAME, which is none of these, becomes one where '_' and '-' are the same (CGI, WSGI).
bool LooksLikeHopField(std::string_view name);

/// Removes what may not stand in trailers: hop fields, and those that say how to treat a message.
void CleanTrailers(Headers& trailers);

/// What is wrong with a request's trailers that are well-formed fields: one is a hop field, or one
/// to some servers (Content_Length), or there are too many.
std::optional<ProtocolError> CheckRequestTrailers(const Headers& trailers);

/// Removes what else may not stand in a request's trailers (RFC 9110, 6.5.1): what says how to treat
/// a message, where it came from, what the request is, and credentials; with '_' for '-', too.
void CleanRequestTrailers(Headers& trailers);

}  // namespace sallyport::mitm::http1
