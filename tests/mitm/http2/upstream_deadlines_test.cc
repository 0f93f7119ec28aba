#include <nghttp2/nghttp2.h>

#include <catch2/catch.hpp>
#include <string>

#include "mitm/limits.h"
#include "tests/mitm/http2/upstream_wire.h"

// What becomes of a connection to an HTTP/2 server that stays silent. The clock moves by hand.

namespace sallyport::mitm::http2 {
namespace {

using std::chrono::milliseconds;

TEST_CASE("a server that agreed on HTTP/2 and says nothing is left") {
  Wire wire;
  Asking asking(*wire.connection, Head("GET"));
  wire.Settle();
  wire.clock.Advance(kUpstreamHandshakeTimeout - milliseconds(1));
  wire.Settle();
  CHECK_FALSE(asking.over);
  wire.clock.Advance(milliseconds(1));
  wire.Settle();
  CHECK(asking.Text() == "broken the server agreed on HTTP/2, but did not speak it in time\n");
  asking.side.reset();
  CHECK(wire.connection->over());
}

TEST_CASE("a connection without exchanges takes no more after a while, unless one came") {
  Wire wire;
  const std::string settings = Frame(NGHTTP2_SETTINGS, 0, 0, "");
  REQUIRE(wire.peer->Write(settings) == settings.size());
  wire.Settle();
  wire.clock.Advance(kUpstreamIdleTimeout - milliseconds(1));
  wire.Settle();
  REQUIRE(wire.connection->HasRoom());
  {
    const Asking asking(*wire.connection, Head("GET"));
    wire.clock.Advance(kUpstreamSilence - milliseconds(1));
    wire.Settle();
  }
  wire.clock.Advance(kUpstreamIdleTimeout - milliseconds(1));
  wire.Settle();
  CHECK(wire.connection->HasRoom());
  wire.clock.Advance(milliseconds(1));
  wire.Settle();
  CHECK_FALSE(wire.connection->HasRoom());
  CHECK(wire.connection->over());
}

TEST_CASE("a server that was silent while a request was given up gets no more requests") {
  for (const bool late : {false, true}) {
    Wire wire;
    const std::string settings = Frame(NGHTTP2_SETTINGS, 0, 0, "");
    REQUIRE(wire.peer->Write(settings) == settings.size());
    wire.Settle();
    {
      const Asking asking(*wire.connection, Head("GET"));
      wire.Settle();
      wire.clock.Advance(kUpstreamSilence - milliseconds(late ? 0 : 1));
      wire.Settle();
    }
    CHECK(wire.connection->HasRoom() == !late);
  }
}

}  // namespace
}  // namespace sallyport::mitm::http2
