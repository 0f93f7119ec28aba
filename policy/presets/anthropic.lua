-- anthropic, version 1: the Claude API. The key is a secret of yours, as in
--   secret "ANTHROPIC_API_KEY" { from = env "ANTHROPIC_API_KEY", hosts = { "api.anthropic.com" } }
allow.http {
  host = "api.anthropic.com",
  method = { "GET", "POST" },
  path = { "/v1/messages/**", "/v1/models/**", "/v1/complete" },
  otherwise = "the anthropic preset allows messages and models",
}
