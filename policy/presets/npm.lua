-- npm, version 1: packages from the public npm registry; nothing is published.
-- `npm audit` needs a POST, and sends the names of what is installed: it is not in here.
allow.http {
  host = "registry.npmjs.org",
  method = { "GET", "HEAD" },
  otherwise = "the npm preset only reads the registry",
}
