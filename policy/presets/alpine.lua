-- alpine, version 1: packages of Alpine Linux. apk checks their signatures, also over plain HTTP.
allow.http {
  host = "dl-cdn.alpinelinux.org",
  method = { "GET", "HEAD" },
  path = "/alpine/**",
  otherwise = "the alpine preset only reads packages",
}
