-- github-push, version 1: what the github preset reads, and pushing over HTTPS. It takes a secret that may push;
-- name the repositories in rules of your own if not all of them are meant.
allow.http { host = "github.com", method = "POST", path = "/*/*/git-receive-pack" }
use "github"
