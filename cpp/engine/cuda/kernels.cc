#include "engine/cuda/kernels.h"

#include <algorithm>
#include <complex>
#include <string>

#include "core/scalar.h"
#include "engine/cuda/check.h"
#include "engine/cuda/driver.h"
#include "engine/engine.h"

extern const unsigned char jaxmg_kernels_image[];

namespace jaxmg::cuda {
namespace {

// Kernels of a CUDA library serve every context of the process.
CUkernel find(const std::string& name) {
  static const CUlibrary library = [] {
    CUlibrary loaded{};
    JAXMG_CHECK(
        Driver::instance().library_load(&loaded, jaxmg_kernels_image, nullptr, nullptr, 0, nullptr, nullptr, 0));
    return loaded;
  }();
  CUkernel kernel{};
  JAXMG_CHECK(Driver::instance().library_get_kernel(&kernel, library, ("jaxmg_" + name).c_str()));
  return kernel;
}

// The kernel `name` for scalars T.
template <class T>
CUkernel find_for(const std::string& name) {
  constexpr const char* suffix[] = {"_f32", "_f64", "_c64", "_c128"};
  return find(name + suffix[static_cast<std::size_t>(ScalarTraits<T>::type)]);
}

template <class... Arguments>
void launch(CUkernel kernel, std::int64_t blocks, unsigned threads, cudaStream_t stream, Arguments... arguments) {
  void* pointers[] = {&arguments...};
  JAXMG_CHECK(Driver::instance().launch_kernel(reinterpret_cast<CUfunction>(kernel), static_cast<unsigned>(blocks), 1,
                                               1, threads, 1, 1, 0, stream, pointers, nullptr));
}

// Enough blocks for `count` elements, and no more than fill a GPU.
std::int64_t blocks_for(std::int64_t count, int threads) {
  return std::clamp<std::int64_t>((count + threads - 1) / threads, 1, 1024);
}

}  // namespace

void launch_copy(const CopyBatch& batch, int blocks, cudaStream_t stream) {
  static const CUkernel kernel = find("copy");
  void* pointers[] = {const_cast<CopyBatch*>(&batch)};
  JAXMG_CHECK(Driver::instance().launch_kernel(reinterpret_cast<CUfunction>(kernel), static_cast<unsigned>(blocks), 1,
                                               1, 512, 1, 1, 0, stream, pointers, nullptr));
}

void align(CopyItem& item) {
  const auto bits = reinterpret_cast<std::uintptr_t>(item.from) | reinterpret_cast<std::uintptr_t>(item.to) |
                    static_cast<std::uintptr_t>(item.column_bytes) |
                    (item.columns > 1 ? static_cast<std::uintptr_t>(item.from_pitch | item.to_pitch) : 0);
  item.vector = bits % 16 == 0 ? 16 : bits % 8 == 0 ? 8 : 4;
}

void launch_set(std::int32_t* at, std::int32_t value, cudaStream_t stream) {
  static const CUkernel kernel = find("set_i32");
  launch(kernel, 1, 1, stream, at, value);
}

template <class Real>
void launch_subtract(const Subtraction& subtraction, cudaStream_t stream) {
  static const CUkernel kernel = find_for<Real>("subtract");
  launch(kernel, blocks_for(static_cast<std::int64_t>(subtraction.rows) * subtraction.columns, 256), 256, stream,
         subtraction);
}

template <class Real>
void launch_set_diagonal(Real* diagonal, std::int64_t stride, int n, cudaStream_t stream) {
  static const CUkernel kernel = find_for<Real>("set_diagonal");
  launch(kernel, (n + 255) / 256, 256, stream, diagonal, static_cast<long long>(stride), n);
}

template <class T>
void launch_mirror(T* a, std::int64_t ld, int n, cudaStream_t stream) {
  static const CUkernel kernel = find_for<T>("mirror");
  launch(kernel, blocks_for(static_cast<std::int64_t>(n) * n, 1024), 256, stream, a, static_cast<long long>(ld), n);
}

template <class T>
void launch_zero_below(T* a, std::int64_t ld, int n, cudaStream_t stream) {
  static const CUkernel kernel = find_for<T>("zero_below");
  launch(kernel, blocks_for(n, 1), 256, stream, a, static_cast<long long>(ld), n);
}

template <class Real>
void launch_check_factor(const Real* diagonal, std::int64_t stride, int n, int row, const int* failed,
                         std::int32_t* info, cudaStream_t stream) {
  static const CUkernel kernel = find_for<Real>("check_factor");
  launch(kernel, 1, 1024, stream, diagonal, static_cast<long long>(stride), n, row, failed, info);
}

template <class Real>
void launch_conclude(const std::int32_t* info, int ranks, Real* x, std::int64_t count, std::int32_t* status,
                     cudaStream_t stream) {
  static const CUkernel kernel = find_for<Real>("conclude");
  launch(kernel, blocks_for(count, 256), 256, stream, info, ranks, no_failure, x, static_cast<long long>(count),
         status);
}

#define JAXMG_INSTANTIATE(Real)                                                                           \
  template void launch_subtract<Real>(const Subtraction&, cudaStream_t);                                  \
  template void launch_set_diagonal<Real>(Real*, std::int64_t, int, cudaStream_t);                        \
  template void launch_check_factor<Real>(const Real*, std::int64_t, int, int, const int*, std::int32_t*, \
                                          cudaStream_t);                                                  \
  template void launch_conclude<Real>(const std::int32_t*, int, Real*, std::int64_t, std::int32_t*, cudaStream_t);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
#undef JAXMG_INSTANTIATE

#define JAXMG_INSTANTIATE(T)                                           \
  template void launch_mirror<T>(T*, std::int64_t, int, cudaStream_t); \
  template void launch_zero_below<T>(T*, std::int64_t, int, cudaStream_t);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)
#undef JAXMG_INSTANTIATE

}  // namespace jaxmg::cuda
