-- go, version 1: Go modules from the public mirror, and the checksum database.
-- Modules that the mirror does not have come from their own hosts (GOPROXY's "direct"), which are not in here.
allow.http {
  host = { "proxy.golang.org", "sum.golang.org" },
  method = { "GET", "HEAD" },
  otherwise = "the go preset only reads",
}
