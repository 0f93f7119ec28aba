sallyport_fuzz(secrets_substituter secrets_substituter_fuzz.cc sallyport::secrets)
sallyport_fuzz(secrets_basic_auth secrets_basic_auth_fuzz.cc sallyport::secrets)
sallyport_fuzz(secrets_examine secrets_examine_fuzz.cc sallyport::secrets)
sallyport_fuzz(secrets_scrub secrets_scrub_fuzz.cc sallyport::secrets)
