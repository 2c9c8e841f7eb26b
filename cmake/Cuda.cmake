# CUDA: the majors to build (JAXMG_CUDA_MAJORS), the libraries to link (the target jaxmg::cuda<N>),
# and embedding of kernels in a library (jaxmg_embed_kernels).
#
# Host code is plain C++ and needs only headers and libraries: from a toolkit, or from NVIDIA's
# wheels (cmake/cuda_wheels.py). Kernels are compiled by the toolkit's nvcc, or without one by
# NVRTC.

set(JAXMG_CMAKE_DIR "${CMAKE_CURRENT_LIST_DIR}")

# Sets `result` to the CUDA majors that the GPU driver of this machine runs best; empty without a
# driver.
function(jaxmg_majors_of_driver result)
  set(${result} "" PARENT_SCOPE)
  if(EXISTS /proc/driver/nvidia/version)
    file(READ /proc/driver/nvidia/version version)
    if(version MATCHES "Kernel Module[^\n]* ([0-9]+)\\.[0-9]+")
      if(CMAKE_MATCH_1 GREATER_EQUAL 580)
        set(${result} 13 PARENT_SCOPE)
      elseif(CMAKE_MATCH_1 GREATER_EQUAL 525)
        set(${result} 12 PARENT_SCOPE)
      endif()
    endif()
  endif()
endfunction()

# Looks for CUDA `major` below `root`; makes jaxmg::cuda<major> and sets `found` if everything is
# found.
function(jaxmg_try_cuda_root major root found)
  set(${found} FALSE PARENT_SCOPE)
  set(hints "${root}" "${root}/targets/${CMAKE_SYSTEM_PROCESSOR}-linux")
  set(search NO_CACHE NO_DEFAULT_PATH HINTS ${hints})
  # find_*() skip variables that are already set, even by a caller.
  foreach(result include cccl nccl nvcc nvrtc)
    unset(${result})
  endforeach()
  find_path(include cuda_runtime_api.h ${search} PATH_SUFFIXES include)
  if(NOT include)
    return()
  endif()
  file(STRINGS "${include}/cuda_runtime_api.h" version REGEX "define CUDART_VERSION +[0-9]+")
  if(NOT version MATCHES " ${major}0")
    return()
  endif()
  set(includes "${include}")
  set(libraries)
  foreach(name cudart cublas cusolver nccl)
    # Search by the full name of the shared library: wheels have no lib<name>.so.
    set(majors_cudart ${major})
    set(majors_cublas ${major})
    set(majors_cusolver 10 11 12 13)
    set(majors_nccl 2)
    list(TRANSFORM majors_${name} PREPEND "lib${name}.so." OUTPUT_VARIABLE file_names)
    unset(library)
    find_library(library NAMES ${file_names} ${search} PATH_SUFFIXES lib64 lib)
    if(NOT library AND name STREQUAL nccl)
      # NCCL is not part of a toolkit and often installed on its own.
      find_library(library NAMES ${file_names} NO_CACHE)
    endif()
    if(NOT library)
      message(STATUS "CUDA ${major}: ${root} lacks ${name}")
      return()
    endif()
    list(APPEND libraries "${library}")
  endforeach()
  find_path(nccl nccl.h ${search} PATH_SUFFIXES include)
  if(NOT nccl)
    find_path(nccl nccl.h NO_CACHE)
  endif()
  if(NOT nccl OR NOT EXISTS "${include}/cublas_v2.h" OR NOT EXISTS "${include}/cusolverDn.h")
    message(STATUS "CUDA ${major}: ${root} lacks the headers of NCCL, cuBLAS or cuSOLVER")
    return()
  endif()
  # CCCL: cuda_fp16.h includes <nv/target>. Toolkits of CUDA 13 keep it in a separate folder, which
  # nvcc searches and g++ does not.
  find_path(cccl nv/target ${search} PATH_SUFFIXES include include/cccl)
  if(NOT cccl)
    message(STATUS "CUDA ${major}: ${root} lacks the headers of CCCL (nv/target)")
    return()
  endif()
  list(APPEND includes "${cccl}" "${nccl}")
  list(REMOVE_DUPLICATES includes)

  add_library(jaxmg_cuda_toolkit${major} INTERFACE)
  add_library(jaxmg::cuda${major} ALIAS jaxmg_cuda_toolkit${major})
  target_include_directories(jaxmg_cuda_toolkit${major} SYSTEM INTERFACE ${includes})
  target_link_libraries(jaxmg_cuda_toolkit${major} INTERFACE ${libraries})
  # Dependencies of these libraries are resolved when they are loaded.
  target_link_options(jaxmg_cuda_toolkit${major} INTERFACE LINKER:--allow-shlib-undefined)

  if(CMAKE_CROSSCOMPILING)
    # Kernels are the same for every host: any nvcc of this major on this machine compiles them.
    file(GLOB toolkits "/usr/local/cuda-${major}*/bin" "/opt/cuda-${major}*/bin")
    foreach(folder IN LISTS toolkits ITEMS "$ENV{CUDA_HOME}/bin" /usr/local/cuda/bin)
      if(NOT nvcc AND EXISTS "${folder}/nvcc")
        execute_process(COMMAND "${folder}/nvcc" --version OUTPUT_VARIABLE release)
        if(release MATCHES "release ${major}\\.")
          set(nvcc "${folder}/nvcc")
        endif()
      endif()
    endforeach()
  else()
    find_program(nvcc nvcc NO_CACHE NO_DEFAULT_PATH HINTS "${root}/bin")
  endif()
  if(CMAKE_CROSSCOMPILING AND NOT nvcc)
    # NVRTC of this machine, since that of the wheels is of the other one.
    set(own "${PROJECT_SOURCE_DIR}/build/cuda${major}-nvrtc")
    execute_process(COMMAND "${Python3_EXECUTABLE}" "${JAXMG_CMAKE_DIR}/cuda_wheels.py" ${major} "${own}"
                            ${CMAKE_HOST_SYSTEM_PROCESSOR} nvrtc)
    set(search NO_CACHE NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH HINTS "${own}")
  endif()
  find_library(nvrtc libnvrtc.so.${major} ${search} PATH_SUFFIXES lib64 lib)
  set(JAXMG_CUDA${major}_NVCC "${nvcc}" PARENT_SCOPE)
  set(JAXMG_CUDA${major}_NVRTC "${nvrtc}" PARENT_SCOPE)
  set(JAXMG_CUDA${major}_INCLUDES "${includes}" PARENT_SCOPE)
  list(GET libraries 1 cublas)
  message(STATUS "CUDA ${major}: ${include}, ${cublas}")
  set(${found} TRUE PARENT_SCOPE)
endfunction()

macro(jaxmg_find_cuda major)
  set(JAXMG_CUDA_FOUND FALSE)
  set(wheels "${PROJECT_SOURCE_DIR}/build/cuda${major}-wheels")
  if(CMAKE_CROSSCOMPILING)
    string(APPEND wheels "-${CMAKE_SYSTEM_PROCESSOR}")
  endif()
  if(JAXMG_CUDA${major}_ROOT)
    set(roots "${JAXMG_CUDA${major}_ROOT}")
  elseif(CMAKE_CROSSCOMPILING)
    set(roots "${wheels}")
  else()
    file(GLOB roots "/usr/local/cuda-${major}*" "/opt/cuda-${major}*")
    list(APPEND roots "$ENV{CUDA_HOME}" "$ENV{CUDA_PATH}" /usr/local/cuda /opt/cuda "${wheels}")
    list(REMOVE_ITEM roots "")
  endif()
  foreach(root IN LISTS roots)
    if(NOT JAXMG_CUDA_FOUND AND EXISTS "${root}")
      jaxmg_try_cuda_root(${major} "${root}" JAXMG_CUDA_FOUND)
    endif()
  endforeach()
  if(NOT JAXMG_CUDA_FOUND AND JAXMG_CUDA_FETCH AND Python3_FOUND AND NOT JAXMG_CUDA${major}_ROOT)
    message(STATUS "CUDA ${major}: no toolkit found, fetching NVIDIA's wheels")
    execute_process(COMMAND "${Python3_EXECUTABLE}" "${JAXMG_CMAKE_DIR}/cuda_wheels.py" ${major} "${wheels}"
                            ${CMAKE_SYSTEM_PROCESSOR})
    jaxmg_try_cuda_root(${major} "${wheels}" JAXMG_CUDA_FOUND)
  endif()
endmacro()

# Embeds in `target` the kernels.cu of the folder `source`, compiled for CUDA `major`, as
#   extern const unsigned char jaxmg_kernels_image[];
#   extern const unsigned long long jaxmg_kernels_image_size;
# Headers are found through the include roots given after `source`.
function(jaxmg_embed_kernels target major source)
  set(folder "${PROJECT_BINARY_DIR}/kernels/cuda${major}")
  set(image "${folder}/kernels.image")
  file(MAKE_DIRECTORY "${folder}")
  file(GLOB headers CONFIGURE_DEPENDS "${source}/*.h" "${source}/../*.h")
  list(TRANSFORM ARGN PREPEND "-I" OUTPUT_VARIABLE roots)
  if(JAXMG_CUDA${major}_NVCC)
    set(targets)
    foreach(architecture IN LISTS JAXMG_CUDA_ARCHITECTURES)
      list(APPEND targets "-gencode=arch=compute_${architecture},code=sm_${architecture}")
      set(newest ${architecture})
    endforeach()
    # PTX of the newest architecture serves later GPUs.
    list(APPEND targets "-gencode=arch=compute_${newest},code=compute_${newest}")
    if(NOT CMAKE_CROSSCOMPILING)
      list(APPEND targets "-ccbin=${CMAKE_CXX_COMPILER}")
    endif()
    # As C++: optimised unless the build type is None. The default of nvcc is -O3.
    set(optimisation -O3)
    if(CMAKE_BUILD_TYPE STREQUAL "None")
      set(optimisation -Xcicc=-O0 -Xptxas=-O0)
    endif()
    set(compile "${JAXMG_CUDA${major}_NVCC}" --fatbin --std=c++17 ${optimisation} --threads=2 ${targets} ${roots} "-I${source}"
                -MD -MT "${image}" -MF "${image}.d" "${source}/kernels.cu" -o "${image}")
    set(depfile DEPFILE "${image}.d")
    set(how nvcc)
  elseif(JAXMG_CUDA${major}_NVRTC AND Python3_FOUND)
    list(GET JAXMG_CUDA_ARCHITECTURES 0 oldest)
    set(compile "${Python3_EXECUTABLE}" "${JAXMG_CMAKE_DIR}/compile_kernels.py"
                "${JAXMG_CUDA${major}_NVRTC}" "${source}/kernels.cu" "${image}" ${oldest}
                ${ARGN} "${source}" ${JAXMG_CUDA${major}_INCLUDES})
    set(depfile)  # NVRTC searches only the given folders
    set(how NVRTC)
  else()
    message(FATAL_ERROR "CUDA ${major}: neither nvcc nor NVRTC was found")
  endif()
  add_custom_command(
    OUTPUT "${image}"
    COMMAND ${compile}
    DEPENDS "${source}/kernels.cu" ${headers} "${JAXMG_CMAKE_DIR}/compile_kernels.py"
    ${depfile}
    COMMENT "Compiling the kernels for CUDA ${major} with ${how}"
    VERBATIM)
  configure_file("${JAXMG_CMAKE_DIR}/kernels_image.cc.in" "${folder}/kernels_image.cc" @ONLY)
  set_source_files_properties("${folder}/kernels_image.cc" PROPERTIES OBJECT_DEPENDS "${image}")
  target_sources(${target} PRIVATE "${folder}/kernels_image.cc")
endfunction()

set(wanted "${JAXMG_CUDA}")
if(wanted STREQUAL "" AND DEFINED ENV{JAXMG_CUDA})
  set(wanted "$ENV{JAXMG_CUDA}")
endif()
if(wanted STREQUAL "")
  # A build by pip serves the machine it runs on; any other build must choose.
  if(DEFINED SKBUILD)
    set(wanted auto)
  else()
    set(wanted OFF)
  endif()
endif()
if(wanted STREQUAL "auto")
  jaxmg_majors_of_driver(majors)
elseif(wanted STREQUAL "both")
  set(majors 12 13)
elseif(wanted MATCHES "^(12|13)(;(12|13))?$")
  set(majors ${wanted})
elseif(wanted)
  message(FATAL_ERROR "JAXMG_CUDA must be OFF, 12, 13, both or auto, got '${wanted}'")
else()
  set(majors)
endif()

set(JAXMG_CUDA_MAJORS)
foreach(major IN LISTS majors)
  jaxmg_find_cuda(${major})
  if(JAXMG_CUDA_FOUND)
    list(APPEND JAXMG_CUDA_MAJORS ${major})
  elseif(wanted STREQUAL "auto")
    message(WARNING "A GPU was found, but neither a CUDA ${major} toolkit nor NVIDIA's wheels: "
                    "only the host library is built. Set JAXMG_CUDA=OFF if this is intended.")
  else()
    message(
      FATAL_ERROR
        "CUDA ${major} was requested, but its headers and libraries (cudart, cuBLAS, cuSOLVER, "
        "NCCL, CCCL) were not found. Set JAXMG_CUDA${major}_ROOT to a toolkit, or run\n"
        "  python cmake/cuda_wheels.py ${major} build/cuda${major}-wheels\n"
        "to take them from PyPI (JAXMG_CUDA_FETCH=ON does that).")
  endif()
endforeach()
if(JAXMG_CUDA_MAJORS)
  list(JOIN JAXMG_CUDA_MAJORS ", " text)
  message(STATUS "Libraries: host, CUDA ${text}")
else()
  message(STATUS "Libraries: host")
endif()
