-- An agent that talks to its model and to nobody else, and holds no key.

allow.http {
  host = "api.anthropic.com",
  method = { "GET", "POST" },
  path = { "/v1/messages", "/v1/messages/count_tokens", "/v1/models/**" },
  otherwise = "this agent only talks to its model",
}

-- Programs of this API want some key before they start. Whatever they send is taken away, and the
-- gate puts the real one in its place.
secret "ANTHROPIC_API_KEY" {
  from = env "ANTHROPIC_API_KEY",
  hosts = { "api.anthropic.com" },
  expose = false,
  foreign = "strip",
  inject = { ["x-api-key"] = "{}" },
}
