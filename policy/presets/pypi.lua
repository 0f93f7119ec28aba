-- pypi, version 1: packages from the Python Package Index; nothing is uploaded (that is another host).
allow.http {
  host = "pypi.org",
  method = { "GET", "HEAD" },
  path = { "/simple/**", "/pypi/**" },
  otherwise = "the pypi preset reads the index only",
}
allow.http {
  host = "files.pythonhosted.org",
  method = { "GET", "HEAD" },
  otherwise = "the pypi preset only reads",
}
