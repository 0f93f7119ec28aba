-- crates, version 1: Rust crates from crates.io, by the sparse index; nothing is published.
allow.http {
  host = { "index.crates.io", "static.crates.io" },
  method = { "GET", "HEAD" },
  otherwise = "the crates preset only reads",
}
-- Cargo before 1.70 asks here, and is redirected.
allow.http {
  host = "crates.io",
  method = { "GET", "HEAD" },
  path = "/api/v1/crates/**",
  otherwise = "the crates preset reads crates only",
}
