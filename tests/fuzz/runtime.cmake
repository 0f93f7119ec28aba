sallyport_fuzz(runtime_broker_messages runtime_broker_messages_fuzz.cc sallyport::broker_link)
sallyport_fuzz(runtime_broker_tokens runtime_broker_tokens_fuzz.cc sallyport::broker boringssl::ssl boringssl::crypto)
sallyport_fuzz(runtime_connect_reply runtime_connect_reply_fuzz.cc sallyport::dial)
