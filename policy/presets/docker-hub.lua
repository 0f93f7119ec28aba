-- docker-hub, version 1: images from Docker Hub; nothing is pushed.
-- A token is asked for, then the registry redirects to where the layers lie.
allow.http {
  host = "auth.docker.io",
  method = "GET",
  path = "/token",
  otherwise = "the docker-hub preset asks for tokens only",
}
allow.http {
  host = "registry-1.docker.io",
  method = { "GET", "HEAD" },
  path = "/v2/**",
  otherwise = "the docker-hub preset only pulls",
}
allow.http {
  host = {
    "production.cloudflare.docker.com",
    "docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com",
  },
  method = { "GET", "HEAD" },
  otherwise = "the docker-hub preset only pulls",
}
