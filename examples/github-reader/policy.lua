-- An agent that reads GitHub with a token that it never holds.

sandbox { workdir = "/tmp" }

secret "GITHUB_TOKEN" {
  from = env "GITHUB_TOKEN",
  hosts = { "api.github.com" },
}

allow.http {
  host = "api.github.com",
  method = { "GET", "HEAD" },
  path = { "/user", "/repos/**" },
  otherwise = "this agent only reads",
}

on.request("api.github.com", function(req)
  req.headers["x-agent-policy"] = "allowed"
end)
