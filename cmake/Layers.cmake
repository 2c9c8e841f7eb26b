# Layers of the library, and the layers that each of them may include.
#
#   jaxmg_add_layer(<name> [USES <layer>...])
#
# makes up to three kinds of target from the layer's folder, cpp/<name>:
#
#   jaxmg_<name>            the part shared by all devices
#   jaxmg_<name>_host       the host part:             all in folders called host/, at any depth
#   jaxmg_<name>_cuda<N>    the CUDA part, per major:  all in folders called cuda/
#
# A header is written `#include "<layer>/<file>.h"`. Each target has an include root of its own in
# the build folder, which holds links to that target's headers and to nothing else. A target sees
# its own root and the roots of the layers it USES. Therefore an include in the wrong direction does
# not compile: from a lower layer to a higher one, from shared code to code of a device, or from
# code of one device to code of another.

# Compile options of all our code. (GCC 12 reports a std::optional as maybe uninitialized even where
# it is tested before it is read.)
add_library(jaxmg_options INTERFACE)
target_compile_options(
  jaxmg_options INTERFACE -Wall -Wextra -Wpedantic $<$<BOOL:${JAXMG_WERROR}>:-Werror>
                          $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized> -fno-semantic-interposition)
target_link_libraries(jaxmg_options INTERFACE Threads::Threads)
if(JAXMG_SANITIZE)
  target_compile_definitions(jaxmg_options INTERFACE JAXMG_FEW_SCALARS)
  # Reports have the lines of the libraries' frames, and only the names of functions of test programs.
  set(program $<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>)
  target_compile_options(
    jaxmg_options INTERFACE -fsanitize=${JAXMG_SANITIZE} -fno-sanitize-recover=all
                            -fno-omit-frame-pointer $<$<NOT:${program}>:-g1>)
  if(JAXMG_SANITIZE MATCHES "address,undefined")
    # AddressSanitizer finds accesses through null pointers and beyond objects; checks of each member take a third of a
    # compilation.
    target_compile_options(jaxmg_options INTERFACE -fno-sanitize=null,object-size,vptr)
  endif()
  target_link_options(jaxmg_options INTERFACE -fsanitize=${JAXMG_SANITIZE})
  if(JAXMG_SANITIZE MATCHES "thread")
    # GCC warns that ThreadSanitizer does not support std::atomic_thread_fence.
    target_compile_options(jaxmg_options INTERFACE -Wno-tsan)
  endif()
endif()

# Links `headers` (files below `source`) into the include root `root` of layer `layer`.
function(jaxmg_link_headers root layer source headers)
  file(REMOVE_RECURSE "${root}")
  file(MAKE_DIRECTORY "${root}/${layer}")
  foreach(header IN LISTS headers)
    get_filename_component(folder "${root}/${layer}/${header}" DIRECTORY)
    file(MAKE_DIRECTORY "${folder}")
    file(CREATE_LINK "${source}/${header}" "${root}/${layer}/${header}" SYMBOLIC)
  endforeach()
endfunction()

# Makes one target from sources and an include root; a layer without sources is an interface.
function(jaxmg_add_part target root)
  cmake_parse_arguments(PARSE_ARGV 2 part "" "" "SOURCES;LINKS")
  if(part_SOURCES)
    add_library(${target} STATIC ${part_SOURCES})
    target_include_directories(${target} PUBLIC "${root}")
    target_link_libraries(${target} PUBLIC ${part_LINKS} PRIVATE jaxmg_options)
  else()
    add_library(${target} INTERFACE)
    target_include_directories(${target} INTERFACE "${root}")
    target_link_libraries(${target} INTERFACE ${part_LINKS})
  endif()
endfunction()

# Sorts the given files by part into <prefix>_{shared,host,cuda}.
macro(jaxmg_sort_by_part prefix)
  set(${prefix}_shared)
  set(${prefix}_host)
  set(${prefix}_cuda)
  foreach(entry ${ARGN})
    if(entry MATCHES "(^|/)host/")
      list(APPEND ${prefix}_host "${entry}")
    elseif(entry MATCHES "(^|/)cuda/")
      list(APPEND ${prefix}_cuda "${entry}")
    else()
      list(APPEND ${prefix}_shared "${entry}")
    endif()
  endforeach()
endmacro()

function(jaxmg_add_layer layer)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "USES")
  set(here "${CMAKE_CURRENT_SOURCE_DIR}")
  set(roots "${PROJECT_BINARY_DIR}/include")

  file(GLOB_RECURSE sources CONFIGURE_DEPENDS RELATIVE "${here}" "${here}/*.cc")
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE "${here}" "${here}/*.h")
  jaxmg_sort_by_part(source ${sources})
  jaxmg_sort_by_part(header ${headers})

  set(uses_shared)
  set(uses_host)
  foreach(used IN LISTS arg_USES)
    list(APPEND uses_shared jaxmg_${used})
    list(APPEND uses_host jaxmg_${used}_host)
  endforeach()

  jaxmg_link_headers("${roots}/${layer}" ${layer} "${here}" "${header_shared}")
  jaxmg_add_part(jaxmg_${layer} "${roots}/${layer}" SOURCES ${source_shared} LINKS ${uses_shared})

  jaxmg_link_headers("${roots}/${layer}_host" ${layer} "${here}" "${header_host}")
  jaxmg_add_part(
    jaxmg_${layer}_host "${roots}/${layer}_host"
    SOURCES ${source_host}
    LINKS jaxmg_${layer} ${uses_host})

  jaxmg_link_headers("${roots}/${layer}_cuda" ${layer} "${here}" "${header_cuda}")
  foreach(major IN LISTS JAXMG_CUDA_MAJORS)
    set(uses_cuda)
    foreach(used IN LISTS arg_USES)
      list(APPEND uses_cuda jaxmg_${used}_cuda${major})
    endforeach()
    jaxmg_add_part(
      jaxmg_${layer}_cuda${major} "${roots}/${layer}_cuda"
      SOURCES ${source_cuda}
      LINKS jaxmg_${layer} ${uses_cuda} jaxmg::cuda${major})
  endforeach()
endfunction()
