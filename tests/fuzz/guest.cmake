sallyport_fuzz(guest_cbor guest_cbor_fuzz.cc sallyport::protocol)
sallyport_fuzz(guest_frames guest_frames_fuzz.cc sallyport::protocol)
# The agent's own files, which no library has.
add_library(sallyport_java_store STATIC "${PROJECT_SOURCE_DIR}/guest/agent/java_store.cc"
  "${PROJECT_SOURCE_DIR}/guest/agent/pem.cc")
target_link_libraries(sallyport_java_store
  PUBLIC sallyport::base PRIVATE sallyport_flags boringssl::crypto)
sallyport_fuzz(guest_java_store guest_java_store_fuzz.cc sallyport_java_store)
