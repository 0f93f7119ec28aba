# A stripped copy of AGENT is small and static.
execute_process(COMMAND "${STRIP}" -o "${COPY}" "${AGENT}" COMMAND_ERROR_IS_FATAL ANY)
file(SIZE "${COPY}" size)
execute_process(COMMAND "${READELF}" -lW "${COPY}" OUTPUT_VARIABLE segments
  COMMAND_ERROR_IS_FATAL ANY)
file(REMOVE "${COPY}")
message(STATUS "sandbox-agent: ${size} bytes")
if(size GREATER_EQUAL 1048576)
  message(FATAL_ERROR "the agent has ${size} bytes, a MiB or more")
endif()
if(segments MATCHES "INTERP|DYNAMIC")
  message(FATAL_ERROR "the agent is not static")
endif()
