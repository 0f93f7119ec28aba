sallyport_fuzz(netstack netstack_fuzz.cc sallyport::netstack)
