-- A build that pulls any image of a private registry and pushes only its own.

secret "REGISTRY_PASSWORD" {
  from = env "REGISTRY_PASSWORD",
  hosts = { "registry.example.com" },
}

allow.http { host = "registry.example.com", method = { "GET", "HEAD" }, path = "/v2/**" }
allow.http {
  host = "registry.example.com",
  method = { "POST", "PATCH", "PUT" },
  path = "/v2/team/app/**",
  otherwise = "this build pushes team/app and nothing else",
}
