// Launches of the kernels in kernels.cu, by name.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/scalar.h"
#include "engine/cuda/check.h"
#include "engine/cuda/driver.h"

namespace jaxmg::cuda {

// A string as a template argument.
template <std::size_t length>
struct KernelName {
  char text[length];

  constexpr KernelName(const char (&name)[length]) { std::copy_n(name, length, text); }
};

// The kernel jaxmg_<name> of the embedded image, for each context of the process.
CUkernel find_kernel(const std::string& name);

constexpr const char* suffix_of(ScalarType type) {
  constexpr const char* suffixes[] = {"_f32", "_f64", "_c64", "_c128"};
  return suffixes[static_cast<std::size_t>(type)];
}

// A kernel, looked up when it is first used: kernel<"copy">(), or for scalars T kernel<"mirror", T>().
template <KernelName name>
CUkernel kernel() {
  static const CUkernel found = find_kernel(name.text);
  return found;
}
template <KernelName name, class T>
CUkernel kernel() {
  static const CUkernel found = find_kernel(std::string(name.text) + suffix_of(ScalarTraits<T>::type));
  return found;
}

// Launch dimensions: thread blocks, threads of a block, and its dynamic shared memory.
struct Grid {
  std::int64_t x;
  unsigned threads;
  std::int64_t y = 1;
  std::int64_t shared_bytes = 0;
};

// Enough thread blocks for `count` elements, but no more than fill a GPU.
inline Grid grid_for(std::int64_t count, unsigned threads) {
  return {std::clamp<std::int64_t>((count + threads - 1) / threads, 1, 1024), threads};
}
// A thread block for each of `count` columns, but no more than fill a GPU.
inline Grid grid_of_columns(std::int64_t count, unsigned threads) {
  return {std::clamp<std::int64_t>(count, 1, 1024), threads};
}

// Launches a kernel. Arguments must have the sizes of the kernel's parameters.
template <class... Arguments>
void launch(CUkernel kernel, Grid grid, cudaStream_t stream, const Arguments&... arguments) {
  void* pointers[] = {const_cast<void*>(static_cast<const void*>(&arguments))...};
  JAXMG_CHECK(Driver::instance().launch_kernel(reinterpret_cast<CUfunction>(kernel), static_cast<unsigned>(grid.x),
                                               static_cast<unsigned>(grid.y), 1, grid.threads, 1, 1,
                                               static_cast<unsigned>(grid.shared_bytes), stream, pointers, nullptr));
}

// Cooperative launch of a kernel whose thread blocks wait for each other and therefore must all run at once.
template <class... Arguments>
void launch_cooperative(CUkernel kernel, Grid grid, std::int64_t shared_bytes, cudaStream_t stream,
                        const Arguments&... arguments) {
  void* pointers[] = {const_cast<void*>(static_cast<const void*>(&arguments))...};
  JAXMG_CHECK(Driver::instance().launch_cooperative_kernel(
      reinterpret_cast<CUfunction>(kernel), static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y), 1,
      grid.threads, 1, 1, static_cast<unsigned>(shared_bytes), stream, pointers));
}

}  // namespace jaxmg::cuda
