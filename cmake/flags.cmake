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
  # Beside -static-pie, which implies them, these two make g++ 12 write a program that crashes.
  set(shared $<NOT:$<BOOL:$<TARGET_PROPERTY:SALLYPORT_STATIC>>>)
  target_link_options(sallyport_flags INTERFACE
    $<$<AND:${shared},$<LINK_LANGUAGE:CXX>>:-static-libstdc++> $<${shared}:-static-libgcc>)
endif()

# Position-independent executables; a target that must not be one (the guest's
# static agent) sets POSITION_INDEPENDENT_CODE OFF.
include(CheckPIESupported)
check_pie_supported(LANGUAGES C CXX)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

# Ten thousand relative relocations in a few hundred bytes, where the linker can: each start reads them.
include(CheckLinkerFlag)
check_linker_flag(CXX LINKER:-z,pack-relative-relocs SALLYPORT_PACKS_RELOCATIONS)

# Makes the program TARGET, the only one of its folder, static and still position-independent: no shared
# library has to be found, mapped and bound, which each start of a sandbox would pay for. A macro,
# because it speaks of the folder. The sanitizers' run-time needs the shared libc.
macro(sallyport_static_program target)
  if(NOT SALLYPORT_SANITIZE)
    set_target_properties(${target} PROPERTIES SALLYPORT_STATIC ON)
    set(CMAKE_CXX_LINK_OPTIONS_PIE -static-pie)
    if(SALLYPORT_PACKS_RELOCATIONS)
      target_link_options(${target} PRIVATE LINKER:-z,pack-relative-relocs)
    endif()
    # Functions that nobody calls name libc's resolver, and the linker warns of them.
    target_link_options(${target} PRIVATE LINKER:--no-warnings)
  endif()
endmacro()
