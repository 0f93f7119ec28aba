# lwIP, BoringSSL, llhttp and Lua, compiled from Debian's packages. Provides
#
#   SALLYPORT_LWIP_DIR              root of lwIP's source; netstack/ compiles it
#   boringssl::ssl, ::crypto        static libraries, built once into the cache
#   llhttp::llhttp, lua::lua        static libraries
#   SALLYPORT_{LWIP,BORINGSSL,LLHTTP,LUA}_VERSION
#
# Sources are fetched and verified by fetch_source.sh, in the versions of
# third_party_versions.cmake, into SALLYPORT_CACHE_DIR, which all builds of a
# checkout share. -DSALLYPORT_{LWIP,BORINGSSL,LLHTTP,LUA}_DIR= names a source tree
# of one's own instead; then nothing is fetched for that library.

include("${CMAKE_CURRENT_LIST_DIR}/third_party_versions.cmake")

set(SALLYPORT_LWIP_DIR "" CACHE PATH "Unpacked lwIP source to use instead of Debian's")
set(SALLYPORT_BORINGSSL_DIR "" CACHE PATH "Unpacked BoringSSL source (Android's layout) to use instead of Debian's")
set(SALLYPORT_LLHTTP_DIR "" CACHE PATH "llhttp release (C sources) to use instead of Debian's")
set(SALLYPORT_LUA_DIR "" CACHE PATH "Lua release to use instead of Debian's source")

set(sallyport_default_cache "${PROJECT_SOURCE_DIR}/.cache/third_party")
if(DEFINED ENV{SALLYPORT_CACHE_DIR})
  set(sallyport_default_cache "$ENV{SALLYPORT_CACHE_DIR}")
endif()
set(SALLYPORT_CACHE_DIR "${sallyport_default_cache}" CACHE PATH "Where fetched sources and built BoringSSL are kept")

# Sets SALLYPORT_<NAME>_DIR for each of the libraries NAMES, fetching what is missing.
macro(sallyport_find_sources)
  set(wanted)
  set(options)
  foreach(name ${ARGN})
    if(NOT SALLYPORT_${name}_DIR)
      string(TOLOWER "${name}-${SALLYPORT_${name}_UPSTREAM}" folder)
      set(SALLYPORT_${name}_DIR "${SALLYPORT_CACHE_DIR}/${folder}")
      string(REPLACE ";" " " tested "${SALLYPORT_${name}_TESTED}")
      string(REPLACE ";" " " accepted "${SALLYPORT_${name}_ACCEPTED}")
      list(APPEND wanted "${folder}" "${SALLYPORT_${name}_PACKAGE}" "${tested}" "${accepted}")
      string(APPEND options " -DSALLYPORT_${name}_DIR=")
    endif()
  endforeach()
  if(wanted)
    execute_process(
      COMMAND "${PROJECT_SOURCE_DIR}/cmake/fetch_source.sh" "${SALLYPORT_CACHE_DIR}" ${wanted}
      RESULT_VARIABLE failed)
    if(failed)
      message(FATAL_ERROR
        "The sources above could not be had from Debian's archive. Either make it reachable, or give "
        "unpacked source trees of your own:${options}")
    endif()
  endif()
endmacro()

# Reads "#define MACRO VALUE" from FILE; VALUE is a number, or a string of one.
function(sallyport_read_define out file macro)
  file(STRINGS "${file}" line REGEX "^#define[ \t]+${macro}[ \t]+\"?[0-9]+" LIMIT_COUNT 1)
  string(REGEX REPLACE "^#define[ \t]+${macro}[ \t]+\"?([0-9]+).*" "\\1" value "${line}")
  set(${out} "${value}" PARENT_SCOPE)
endfunction()

# Sets SALLYPORT_<NAME>_VERSION to what the three macros MAJOR, MINOR and PATCH of HEADER say, which is
# called LIBRARY in messages.
macro(sallyport_read_version name library header major minor patch)
  if(NOT EXISTS "${header}")
    message(FATAL_ERROR "SALLYPORT_${name}_DIR=${SALLYPORT_${name}_DIR} has no ${library}: ${header} is missing")
  endif()
  sallyport_read_define(sallyport_major "${header}" ${major})
  sallyport_read_define(sallyport_minor "${header}" ${minor})
  sallyport_read_define(sallyport_patch "${header}" ${patch})
  set(SALLYPORT_${name}_VERSION ${sallyport_major}.${sallyport_minor}.${sallyport_patch})
  if(NOT SALLYPORT_${name}_VERSION STREQUAL SALLYPORT_${name}_UPSTREAM)
    message(WARNING "${library} ${SALLYPORT_${name}_VERSION} was never tested; ${SALLYPORT_${name}_UPSTREAM} was")
  endif()
endmacro()

# Two builds of one checkout may be configured at the same time.
file(MAKE_DIRECTORY "${SALLYPORT_CACHE_DIR}")
file(LOCK "${SALLYPORT_CACHE_DIR}/lock" TIMEOUT 1800)
sallyport_find_sources(LWIP BORINGSSL LLHTTP LUA)

# --- lwIP ---------------------------------------------------------------------------------------

sallyport_read_version(LWIP lwIP "${SALLYPORT_LWIP_DIR}/src/include/lwip/init.h"
  LWIP_VERSION_MAJOR LWIP_VERSION_MINOR LWIP_VERSION_REVISION)

# --- llhttp -------------------------------------------------------------------------------------

# Debian's package and llhttp's own releases put the files in different places.
find_path(SALLYPORT_LLHTTP_INCLUDE llhttp.h REQUIRED NO_CACHE NO_DEFAULT_PATH
  PATHS "${SALLYPORT_LLHTTP_DIR}" PATH_SUFFIXES usr/share/include/llhttp include)
find_path(SALLYPORT_LLHTTP_SOURCE llhttp.c REQUIRED NO_CACHE NO_DEFAULT_PATH
  PATHS "${SALLYPORT_LLHTTP_DIR}" PATH_SUFFIXES usr/share/llhttp src)
sallyport_read_version(LLHTTP llhttp "${SALLYPORT_LLHTTP_INCLUDE}/llhttp.h"
  LLHTTP_VERSION_MAJOR LLHTTP_VERSION_MINOR LLHTTP_VERSION_PATCH)

add_library(sallyport_llhttp STATIC
  "${SALLYPORT_LLHTTP_SOURCE}/api.c" "${SALLYPORT_LLHTTP_SOURCE}/http.c" "${SALLYPORT_LLHTTP_SOURCE}/llhttp.c")
add_library(llhttp::llhttp ALIAS sallyport_llhttp)
target_include_directories(sallyport_llhttp SYSTEM PUBLIC "${SALLYPORT_LLHTTP_INCLUDE}")
# Its data callbacks point into our buffers, so it is sanitized with our code.
target_link_libraries(sallyport_llhttp PRIVATE sallyport_instrumentation)
target_compile_options(sallyport_llhttp PRIVATE -w -O2)

# --- Lua ----------------------------------------------------------------------------------------

sallyport_read_version(LUA Lua "${SALLYPORT_LUA_DIR}/src/lua.h"
  LUA_VERSION_MAJOR LUA_VERSION_MINOR LUA_VERSION_RELEASE)

add_library(sallyport_lua STATIC "${CMAKE_CURRENT_LIST_DIR}/lua/lua.cc")
add_library(lua::lua ALIAS sallyport_lua)
target_include_directories(sallyport_lua SYSTEM PUBLIC "${SALLYPORT_LUA_DIR}/src")
target_link_libraries(sallyport_lua PRIVATE sallyport_instrumentation)
target_compile_options(sallyport_lua PRIVATE -w -O2)
target_compile_definitions(sallyport_lua PUBLIC LUA_COMPAT_5_3)  # As Debian's own, with `math.pow`.
if(SALLYPORT_SANITIZE)
  target_compile_definitions(sallyport_lua PRIVATE LUA_USE_APICHECK)
endif()
set_target_properties(sallyport_lua PROPERTIES CXX_CLANG_TIDY "")

# --- BoringSSL ----------------------------------------------------------------------------------

if(NOT EXISTS "${SALLYPORT_BORINGSSL_DIR}/android-sources.cmake")
  message(FATAL_ERROR "SALLYPORT_BORINGSSL_DIR=${SALLYPORT_BORINGSSL_DIR} has no android-sources.cmake")
endif()
if(SALLYPORT_BORINGSSL_DIR STREQUAL "${SALLYPORT_CACHE_DIR}/boringssl-${SALLYPORT_BORINGSSL_UPSTREAM}")
  set(SALLYPORT_BORINGSSL_VERSION ${SALLYPORT_BORINGSSL_UPSTREAM})
  file(READ "${SALLYPORT_BORINGSSL_DIR}/.debian_version" sallyport_boringssl_identity)
else()
  sallyport_read_define(api "${SALLYPORT_BORINGSSL_DIR}/src/include/openssl/base.h" BORINGSSL_API_VERSION)
  set(SALLYPORT_BORINGSSL_VERSION "API ${api}")
  set(sallyport_boringssl_identity "${SALLYPORT_BORINGSSL_DIR}")
endif()

# Built once for each source, compiler and set of flags; never sanitized, never with our warnings.
set(sallyport_boringssl_flags "-O2 -DNDEBUG -g1")
set(recipe)
foreach(file CMakeLists.txt cipher_choice.cc)
  file(READ "${CMAKE_CURRENT_LIST_DIR}/boringssl/${file}" text)
  string(APPEND recipe "${text}")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/boringssl/${file}")
endforeach()
string(SHA256 key
  "${sallyport_boringssl_identity}|${CMAKE_SYSTEM_PROCESSOR}|${sallyport_boringssl_flags}|${recipe}|\
${CMAKE_C_COMPILER} ${CMAKE_C_COMPILER_VERSION}|${CMAKE_CXX_COMPILER} ${CMAKE_CXX_COMPILER_VERSION}")
string(SUBSTRING "${key}" 0 16 key)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/fetch_source.sh")
set(sallyport_boringssl_build "${SALLYPORT_CACHE_DIR}/boringssl-build-${key}")

if(NOT EXISTS "${sallyport_boringssl_build}/lib/libssl.a")
  message(STATUS "building BoringSSL ${SALLYPORT_BORINGSSL_VERSION} with ${CMAKE_C_COMPILER_ID}, once (about half a minute)")
  set(work "${sallyport_boringssl_build}.work")
  set(log "${sallyport_boringssl_build}.log")
  file(REMOVE_RECURSE "${work}")
  execute_process(
    COMMAND "${CMAKE_COMMAND}" -S "${CMAKE_CURRENT_LIST_DIR}/boringssl" -B "${work}" -G "${CMAKE_GENERATOR}"
      "-DCMAKE_MAKE_PROGRAM=${CMAKE_MAKE_PROGRAM}" -DCMAKE_BUILD_TYPE=Release
      "-DCMAKE_C_COMPILER=${CMAKE_C_COMPILER}" "-DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}"
      "-DCMAKE_C_FLAGS_RELEASE=${sallyport_boringssl_flags}" "-DCMAKE_CXX_FLAGS_RELEASE=${sallyport_boringssl_flags}"
      "-DBORINGSSL_SOURCE=${SALLYPORT_BORINGSSL_DIR}" "-DCMAKE_INSTALL_PREFIX=${work}/out"
    COMMAND_ERROR_IS_FATAL ANY OUTPUT_FILE "${log}")
  cmake_host_system_information(RESULT jobs QUERY NUMBER_OF_LOGICAL_CORES)
  execute_process(
    COMMAND "${CMAKE_COMMAND}" --build "${work}" --parallel ${jobs} --target install
    RESULT_VARIABLE failed OUTPUT_FILE "${log}" ERROR_FILE "${log}")
  if(failed)
    message(FATAL_ERROR "BoringSSL did not build; see ${log}")
  endif()
  file(RENAME "${work}/out" "${sallyport_boringssl_build}")
  file(REMOVE_RECURSE "${work}")
endif()

foreach(library crypto ssl)
  add_library(boringssl::${library} STATIC IMPORTED GLOBAL)
  set_target_properties(boringssl::${library} PROPERTIES
    IMPORTED_LOCATION "${sallyport_boringssl_build}/lib/lib${library}.a"
    INTERFACE_INCLUDE_DIRECTORIES "${SALLYPORT_BORINGSSL_DIR}/src/include"
    # No symbol of it leaves the executable: an OpenSSL that arrives with another library must not bind to it.
    INTERFACE_LINK_OPTIONS "LINKER:--exclude-libs,libssl.a:libcrypto.a")
endforeach()
find_package(Threads REQUIRED)
set_property(TARGET boringssl::crypto PROPERTY INTERFACE_LINK_LIBRARIES Threads::Threads)
set_property(TARGET boringssl::ssl PROPERTY INTERFACE_LINK_LIBRARIES boringssl::crypto)

file(LOCK "${SALLYPORT_CACHE_DIR}/lock" RELEASE)
message(STATUS "lwIP ${SALLYPORT_LWIP_VERSION}, BoringSSL ${SALLYPORT_BORINGSSL_VERSION}, llhttp ${SALLYPORT_LLHTTP_VERSION}, "
  "Lua ${SALLYPORT_LUA_VERSION}: "
  "${SALLYPORT_CACHE_DIR}")
