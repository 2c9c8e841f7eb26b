# GoogleTest and a LAPACK for the C++ tests, as GTest::gtest, GTest::gtest_main and LAPACK::LAPACK.
#
# Cross-compiled tests build GoogleTest from the sources that Debian installs, and get their LAPACK
# from the wheel of OpenBLAS on PyPI (scipy-openblas32), where all names have the prefix "scipy_".

if(NOT CMAKE_CROSSCOMPILING)
  find_package(GTest REQUIRED)
  find_package(LAPACK REQUIRED)
  return()
endif()

add_subdirectory(/usr/src/googletest/googletest "${PROJECT_BINARY_DIR}/googletest" EXCLUDE_FROM_ALL)

set(openblas "${PROJECT_BINARY_DIR}/openblas")
execute_process(
  COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_LIST_DIR}/openblas_wheel.py" ${CMAKE_SYSTEM_PROCESSOR} "${openblas}"
  COMMAND_ERROR_IS_FATAL ANY)
add_library(jaxmg_openblas INTERFACE)
add_library(LAPACK::LAPACK ALIAS jaxmg_openblas)
# The Fortran library of the wheel names zlib as a dependency and takes no symbol from it: an empty libz.so.1 serves.
file(WRITE "${openblas}/empty.cc" "")
add_library(jaxmg_empty_zlib SHARED "${openblas}/empty.cc")
set_target_properties(jaxmg_empty_zlib PROPERTIES OUTPUT_NAME z VERSION 1 SOVERSION 1)
target_link_libraries(jaxmg_openblas INTERFACE jaxmg_empty_zlib "${openblas}/lib/libscipy_openblas.so")
target_link_options(jaxmg_openblas INTERFACE LINKER:--allow-shlib-undefined LINKER:--no-as-needed)
# The routines that the tests take from LAPACK, all declared in one header.
file(STRINGS "${PROJECT_SOURCE_DIR}/tests/cpp/lapack.h" declarations REGEX "^void [a-z0-9]+_\\(\\);$")
foreach(declaration IN LISTS declarations)
  string(REGEX REPLACE "^void ([a-z0-9]+_).*" "\\1" routine "${declaration}")
  target_compile_definitions(jaxmg_openblas INTERFACE ${routine}=scipy_${routine})
endforeach()
