sallyport_fuzz(policy_dns_message ${CMAKE_CURRENT_LIST_DIR}/policy_dns_message_fuzz.cc sallyport::policy)
sallyport_fuzz(policy_load ${CMAKE_CURRENT_LIST_DIR}/policy_load_fuzz.cc sallyport::policy lua::lua)
sallyport_fuzz(policy_lua_format ${CMAKE_CURRENT_LIST_DIR}/policy_lua_format_fuzz.cc sallyport::policy)
