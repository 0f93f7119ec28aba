-- moderate, version 1: reading packages and GitHub, and nothing else; the current folder to write in.
-- For building and testing what others wrote. Private registries and APIs want a policy of your own.
sandbox { workdir = "/work", mounts = { { ".", "/work", mode = "rw" } } }

use "npm"
use "pypi"
use "crates"
use "go"
use "debian"
use "alpine"
use "github"
