# Headers of XLA's foreign function interface, as the target jaxmg::xla_ffi.
#
# They must be the headers of jaxlib 0.6.2, the oldest supported: a library compiled against them
# (API 0.1) runs on every later JAX, while an older JAX rejects libraries compiled against newer
# headers. Searched in order: JAXMG_XLA_FFI_INCLUDE_DIR; that jaxlib, where the Python of this build
# has it (pip installs it for a build, see pyproject.toml); its wheel on PyPI.

set(JAXMG_JAXLIB_VERSION 0.6.2)
set(Python3_FIND_STRATEGY LOCATION)
find_package(Python3 3.10 COMPONENTS Interpreter)

set(xla_ffi "${JAXMG_XLA_FFI_INCLUDE_DIR}")
if(NOT xla_ffi)
  set(xla_ffi "${PROJECT_BINARY_DIR}/xla_ffi")
  if(Python3_FOUND)
    execute_process(
      COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_LIST_DIR}/xla_ffi_headers.py"
              "${JAXMG_JAXLIB_VERSION}" "${xla_ffi}")
  endif()
endif()
if(NOT EXISTS "${xla_ffi}/xla/ffi/api/ffi.h")
  message(
    FATAL_ERROR
      "xla/ffi/api/ffi.h was not found. Set JAXMG_XLA_FFI_INCLUDE_DIR to the folder that "
      "`import jax; print(jax.ffi.include_dir())` prints with jaxlib ${JAXMG_JAXLIB_VERSION}.")
endif()
file(STRINGS "${xla_ffi}/xla/ffi/api/c_api.h" minor REGEX "define XLA_FFI_API_MINOR ")
if(NOT minor MATCHES "MINOR 1$")
  message(WARNING "The XLA FFI headers in ${xla_ffi} are not from jaxlib "
                  "${JAXMG_JAXLIB_VERSION}: older JAX releases will reject this build.")
endif()
message(STATUS "XLA FFI headers: ${xla_ffi}")

add_library(jaxmg_xla_ffi INTERFACE)
add_library(jaxmg::xla_ffi ALIAS jaxmg_xla_ffi)
target_include_directories(jaxmg_xla_ffi SYSTEM INTERFACE "${xla_ffi}")
# The C header has structs whose members are named like their types, which GCC accepts only with
# -fpermissive (without warnings, as this is a system header).
target_compile_options(jaxmg_xla_ffi INTERFACE $<$<CXX_COMPILER_ID:GNU>:-fpermissive>)
