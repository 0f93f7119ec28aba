# Two interface targets: sallyport_flags is for our own targets only (warnings,
# hardening, sanitizers); sallyport_sanitizers is the part that third-party code
# compiled with ours may link.

add_library(sallyport_sanitizers INTERFACE)
if(SALLYPORT_SANITIZE)
  target_compile_options(sallyport_sanitizers INTERFACE
    -fsanitize=${SALLYPORT_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(sallyport_sanitizers INTERFACE -fsanitize=${SALLYPORT_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    # So that libFuzzer sees which branches of the code under test its inputs reach.
    target_compile_options(sallyport_sanitizers INTERFACE -fsanitize=fuzzer-no-link)
  endif()
endif()

add_library(sallyport_flags INTERFACE)
target_link_libraries(sallyport_flags INTERFACE sallyport_sanitizers)
target_compile_options(sallyport_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion
  $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor> $<$<COMPILE_LANGUAGE:CXX>:-Woverloaded-virtual>
  $<$<BOOL:${SALLYPORT_WERROR}>:-Werror>
  -fstack-protector-strong -fno-semantic-interposition
  -ffunction-sections -fdata-sections)
target_link_options(sallyport_flags INTERFACE LINKER:-z,relro,-z,now LINKER:--gc-sections)

if(NOT SALLYPORT_SANITIZE)
  # FORTIFY_SOURCE needs the optimiser, and hides what AddressSanitizer would see.
  target_compile_options(sallyport_flags INTERFACE
    $<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:-U_FORTIFY_SOURCE> $<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:-D_FORTIFY_SOURCE=2>)
  # Two shared libraries less to map at the start of each sandbox.
  target_link_options(sallyport_flags INTERFACE $<$<LINK_LANGUAGE:CXX>:-static-libstdc++> -static-libgcc)
endif()

# Position-independent executables; a target that must not be one (the guest's
# static agent) sets POSITION_INDEPENDENT_CODE OFF.
include(CheckPIESupported)
check_pie_supported(LANGUAGES C CXX)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
