-- restrictive, version 1: no network at all; the current folder to read.
-- For looking at code, and for running what needs nothing but its input.
sandbox { network = false, workdir = "/work", mounts = { { ".", "/work", mode = "ro" } } }
