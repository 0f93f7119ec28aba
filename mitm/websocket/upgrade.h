#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/http_message.h"
#include "mitm/message.h"
#include "mitm/websocket/handshake.h"
#include "mitm/websocket/relay.h"
#include "secrets/store.h"

namespace sallyport::mitm::websocket {

/// One request's way from its handshake to a relay. Messages are looked into where the store has a
/// value to keep from the guest, or a secret that asks for what is sent; else frames pass as they
/// are.
///
/// | from | messages | pass |
/// | --- | --- | --- |
/// | guest | text | Store::BodySubstituter(), as a body of text/plain |
/// | guest | binary | the same, as a body of no type: looked at, never changed |
/// | server | text | Store::Scrubber() |
/// | server | binary | the same, which keeps their length |
/// | server | control | the same as text; one that shows a value loses its payload |
class Upgrade {
 public:
  /// HEAD is the request's to TARGET as the store's Examine() allowed it, without values; GUEST_KEY
  /// its Sec-WebSocket-Key. STORE outlives this, and this the relay.
  Upgrade(const secrets::Store& store, secrets::RequestTarget target, const RequestHead& head,
          std::string guest_key);

  /// Makes HEAD what the server is asked: with a key of the gate's own, and without extensions
  /// where messages are looked into.
  void Prepare(RequestHead& head) const;

  /// Takes RESPONSE, a 101 to REQUEST as Prepare() left it, and makes it what the guest gets. An
  /// error says why it is refused.
  std::optional<std::string> Accept(const RequestHead& request, ResponseHead& response) const;

  std::unique_ptr<Relay> MakeRelay(ByteChannel guest, ByteChannel server);

  /// What the guest's messages had in them so far.
  const secrets::Examination& found() const { return found_; }

 private:
  class Recording;

  std::unique_ptr<secrets::BodyFilter> Substituter(Opcode opcode) const;
  std::unique_ptr<ByteFilter> UpFilter(Opcode opcode);
  std::unique_ptr<ByteFilter> DownFilter(Opcode opcode) const;

  const secrets::Store& store_;
  const secrets::RequestTarget target_;
  RequestHead text_;  // The head as that of a text, and as that of no type.
  RequestHead binary_;
  const std::string guest_key_;
  const std::string own_key_;
  const bool looks_into_;
  secrets::Examination found_;
};

}  // namespace sallyport::mitm::websocket
