# Two interface targets: sallyport_flags is for our own targets only (warnings,
# hardening, instrumentation); sallyport_instrumentation is the part that
# third-party code compiled with ours may link: sanitizers, profiles.

add_library(sallyport_instrumentation INTERFACE)
if(SALLYPORT_SANITIZE)
  target_compile_options(sallyport_instrumentation INTERFACE
    -fsanitize=${SALLYPORT_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(sallyport_instrumentation INTERFACE -fsanitize=${SALLYPORT_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    # So that libFuzzer sees which branches of the code under test its inputs reach.
    target_compile_options(sallyport_instrumentation INTERFACE -fsanitize=fuzzer-no-link)
  endif()
endif()

# A build that counts what is executed, and one that is optimised by the counts: scripts/build makes
# both. Code that the first never ran, or that has changed since, is compiled as without them.
set(SALLYPORT_PROFILE "" CACHE STRING "\"record\" counts what is executed; \"use\" optimises by it")
set(SALLYPORT_PROFILE_DIR "${PROJECT_SOURCE_DIR}/build/profile/counts" CACHE PATH "Where the counts are")
if(SALLYPORT_PROFILE)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    message(FATAL_ERROR "SALLYPORT_PROFILE is for g++; leave it empty")
  endif()
  # By the path within the build's folder, which is another one for each.
  target_compile_options(sallyport_instrumentation INTERFACE "-fprofile-prefix-path=${CMAKE_BINARY_DIR}")
  if(SALLYPORT_PROFILE STREQUAL "record")
    target_compile_options(sallyport_instrumentation INTERFACE
      "-fprofile-generate=${SALLYPORT_PROFILE_DIR}" -fprofile-update=single)
    target_link_options(sallyport_instrumentation INTERFACE -fprofile-generate)
  elseif(SALLYPORT_PROFILE STREQUAL "use")
    target_compile_options(sallyport_instrumentation INTERFACE
      "-fprofile-use=${SALLYPORT_PROFILE_DIR}" -fprofile-partial-training
      -Wno-missing-profile -Wno-coverage-mismatch)
    set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)  # What is called often is inlined across files too.
  else()
    message(FATAL_ERROR "SALLYPORT_PROFILE=${SALLYPORT_PROFILE} is neither \"record\" nor \"use\"")
  endif()
endif()

add_library(sallyport_flags INTERFACE)
target_link_libraries(sallyport_flags INTERFACE sallyport_instrumentation)
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
