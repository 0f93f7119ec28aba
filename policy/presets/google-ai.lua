-- google-ai, version 1: the Gemini API. The key is a secret of yours, as in
--   secret "GEMINI_API_KEY" { from = env "GEMINI_API_KEY", hosts = { "generativelanguage.googleapis.com" } }
allow.http {
  host = "generativelanguage.googleapis.com",
  method = { "GET", "POST" },
  path = { "/v1/models/**", "/v1beta/models/**", "/v1beta/openai/**" },
  otherwise = "the google-ai preset allows the use of models",
}
