-- openai, version 1: the OpenAI API's models: responses, chat, embeddings, images, audio. The key is a secret of
-- yours, as in
--   secret "OPENAI_API_KEY" { from = env "OPENAI_API_KEY", hosts = { "api.openai.com" } }
-- Files, fine-tuning and the organisation's settings are not in here.
allow.http {
  host = "api.openai.com",
  method = { "GET", "POST" },
  path = {
    "/v1/responses/**",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/models/**",
    "/v1/moderations",
    "/v1/images/**",
    "/v1/audio/**",
  },
  otherwise = "the openai preset allows the use of models",
}
