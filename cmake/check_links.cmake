# cmake -DLIBRARY=... -DREADELF=... -DNEEDED="a;b" -P check_links.cmake
# Fails unless LIBRARY names each of NEEDED as a shared library it needs.
execute_process(
  COMMAND "${READELF}" -d "${LIBRARY}"
  OUTPUT_VARIABLE dynamic
  RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${READELF} failed on ${LIBRARY}")
endif()
foreach(name IN LISTS NEEDED)
  string(FIND "${dynamic}" "[${name}]" place)
  if(place EQUAL -1)
    message(FATAL_ERROR "${LIBRARY} does not need ${name}:\n${dynamic}")
  endif()
  message("${LIBRARY} needs ${name}")
endforeach()
