-- A nightly job that reads an API with OAuth2 access tokens, and holds neither a token nor the
-- client secret that they are got with.

secret "API_TOKEN" {
  from = oauth2 {
    token_url = "https://id.example.com/oauth/token",
    client_id = "nightly-report",
    client_secret = env "CLIENT_SECRET",
    scopes = { "reports.read" },
  },
  hosts = { "api.example.com" },
}

allow.http {
  host = "api.example.com",
  method = { "GET", "HEAD" },
  path = "/reports/**",
  otherwise = "this job reads reports and nothing else",
}

-- For SDKs that get their tokens themselves: the gate answers this call, it does not leave the host.
allow.http {
  host = "id.example.com",
  method = "POST",
  path = "/oauth/token",
  otherwise = "this job only gets its token here",
}
