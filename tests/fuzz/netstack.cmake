sallyport_fuzz(netstack netstack_fuzz.cc sallyport::netstack)
sallyport_fuzz(netstack_replay netstack_replay_fuzz.cc sallyport_netstack_replay sallyport::netstack)
sallyport_fuzz(netstack_dhcp netstack_dhcp_fuzz.cc sallyport::netstack)
sallyport_fuzz(netstack_reassembly netstack_reassembly_fuzz.cc sallyport::netstack)
