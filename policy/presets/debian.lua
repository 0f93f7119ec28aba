-- debian, version 1: packages and security updates of Debian. apt checks their signatures, also over plain HTTP.
allow.http {
  host = { "deb.debian.org", "security.debian.org" },
  method = { "GET", "HEAD" },
  otherwise = "the debian preset only reads",
}
