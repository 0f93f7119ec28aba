-- permissive, version 1: the web and Git over SSH to every public host; the current folder to write in.
-- For code that you would run without a sandbox, too, but for your files, your network and your variables.
sandbox { workdir = "/work", mounts = { { ".", "/work", mode = "rw" } } }

allow.http { host = any }
allow.tcp { host = any, port = { 22, 9418 } }
