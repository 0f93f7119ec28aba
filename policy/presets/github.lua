-- github, version 1: reads GitHub: clone and fetch over HTTPS, releases, raw files, the API. What is private
-- needs a secret; `use "github-push"` adds pushing.
allow.http { host = "github.com", method = "POST", path = "/*/*/git-upload-pack" }
allow.http {
  host = {
    "github.com",
    "api.github.com",
    "codeload.github.com",
    "raw.githubusercontent.com",
    "objects.githubusercontent.com",
    "release-assets.githubusercontent.com",
  },
  method = { "GET", "HEAD" },
  otherwise = "the github preset only reads",
}
