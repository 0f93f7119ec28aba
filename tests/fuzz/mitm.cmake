set(mitm_libraries sallyport::mitm boringssl::ssl boringssl::crypto)
sallyport_fuzz(mitm_http1_request mitm_http1_request_fuzz.cc ${mitm_libraries})
sallyport_fuzz(mitm_http1_response mitm_http1_response_fuzz.cc ${mitm_libraries})
sallyport_fuzz(mitm_guest_hello mitm_guest_hello_fuzz.cc ${mitm_libraries})
