sallyport_fuzz(guest_cbor guest_cbor_fuzz.cc sallyport::protocol)
sallyport_fuzz(guest_frames guest_frames_fuzz.cc sallyport::protocol)
