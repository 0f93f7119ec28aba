sallyport_fuzz(base_host_name ${CMAKE_CURRENT_LIST_DIR}/base_host_name_fuzz.cc sallyport::base)
sallyport_fuzz(base_path_glob ${CMAKE_CURRENT_LIST_DIR}/base_path_glob_fuzz.cc sallyport::base)
