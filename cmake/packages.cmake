# Libraries that come ready from the system: tl::expected, CLI11::CLI11,
# nlohmann_json::nlohmann_json, and from pkg-config PkgConfig::cares, ::idn2,
# ::psl, ::seccomp, ::nghttp2, ::zlib, ::brotli and ::zstd.

find_package(PkgConfig REQUIRED)
find_package(tl-expected REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json 3 REQUIRED)

pkg_check_modules(cares REQUIRED IMPORTED_TARGET libcares)
pkg_check_modules(idn2 REQUIRED IMPORTED_TARGET libidn2)
pkg_check_modules(psl REQUIRED IMPORTED_TARGET libpsl)
pkg_check_modules(seccomp REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(nghttp2 REQUIRED IMPORTED_TARGET libnghttp2)
pkg_check_modules(zlib REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(brotli REQUIRED IMPORTED_TARGET libbrotlidec)
pkg_check_modules(zstd REQUIRED IMPORTED_TARGET libzstd)

# Links PkgConfig::<NAME> from the archives LIBRARIES, where all of them exist:
# each shared library costs every sandbox's start its share of a millisecond.
function(sallyport_prefer_static name)
  set(archives)
  foreach(library ${ARGN})
    find_library(archive NAMES lib${library}.a HINTS ${${name}_LIBRARY_DIRS} NO_CACHE)
    if(NOT archive)
      message(STATUS "${name}: shared, as lib${library}.a is missing")
      return()
    endif()
    list(APPEND archives "${archive}")
    unset(archive)
  endforeach()
  set_target_properties(PkgConfig::${name} PROPERTIES INTERFACE_LINK_LIBRARIES "${archives};m;${CMAKE_DL_LIBS}")
endfunction()

# c-ares looks at files whenever servers are set up, also in a process that may open none any more. Its
# fopen() is ours instead (runtime/dial/ares_channel.cc).
find_library(sallyport_cares NAMES libcares.a HINTS ${cares_LIBRARY_DIRS} NO_CACHE)
if(NOT sallyport_cares)
  message(FATAL_ERROR "libcares.a is missing; Debian has it in libc-ares-dev")
endif()
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${sallyport_cares}")
file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
execute_process(
  COMMAND "${CMAKE_OBJCOPY}" --redefine-sym fopen=sallyport_no_file_for_cares
    "${sallyport_cares}" "${CMAKE_BINARY_DIR}/lib/libcares.a"
  COMMAND_ERROR_IS_FATAL ANY)
set_target_properties(PkgConfig::cares PROPERTIES
  INTERFACE_LINK_LIBRARIES "${CMAKE_BINARY_DIR}/lib/libcares.a")

sallyport_prefer_static(idn2 idn2 unistring)
sallyport_prefer_static(psl psl idn2 unistring)
sallyport_prefer_static(seccomp seccomp)
sallyport_prefer_static(nghttp2 nghttp2)
sallyport_prefer_static(zlib z)
sallyport_prefer_static(brotli brotlidec brotlicommon)
sallyport_prefer_static(zstd zstd)
# As BoringSSL's, their symbols stay inside: a library that brings shared ones must not bind to these.
foreach(name zlib brotli zstd)
  target_link_options(PkgConfig::${name} INTERFACE
    "LINKER:--exclude-libs,libz.a:libbrotlidec.a:libbrotlicommon.a:libzstd.a")
endforeach()
