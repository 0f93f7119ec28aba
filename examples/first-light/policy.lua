-- A first policy: one API with a token, one where the gate adds the token, and nothing else.
-- Both names lead to a server on this host, so that it can be tried without any account.

allow.http {
  host = "api.example.test",
  method = { "GET", "HEAD" },
  path = { "/whoami", "/hello" },
  to = "127.0.0.1:8443",
  otherwise = "this sandbox only reads",
}

allow.http { host = "bot.example.test", to = "127.0.0.1:8443" }

-- The program sends what its variable API_TOKEN holds: a placeholder. The gate puts the value in.
secret "API_TOKEN" {
  from = env "API_TOKEN",
  hosts = { "api.example.test" },
}

-- The program knows of no token at all. The gate adds it.
secret "BOT_TOKEN" {
  from = env "BOT_TOKEN",
  hosts = { "bot.example.test" },
  expose = false,
  inject = { authorization = "Bearer {}" },
}
