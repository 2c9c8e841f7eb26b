#include "engine/cuda/kernels.h"

#include <algorithm>
#include <type_traits>

#include "engine/cuda/check.h"
#include "engine/cuda/driver.h"
#include "engine/engine.h"

extern const unsigned char jaxmg_kernels_image[];

namespace jaxmg::cuda {
namespace {

// Kernels of a CUDA library serve every context of the process.
struct Kernels {
  CUkernel copy, subtract_f32, subtract_f64, check_factor_f32, check_factor_f64, conclude_f32, conclude_f64, set_i32;

  Kernels() {
    CUlibrary library{};
    JAXMG_CHECK(
        Driver::instance().library_load(&library, jaxmg_kernels_image, nullptr, nullptr, 0, nullptr, nullptr, 0));
    const auto get = [&](const char* name) {
      CUkernel kernel{};
      JAXMG_CHECK(Driver::instance().library_get_kernel(&kernel, library, name));
      return kernel;
    };
    copy = get("jaxmg_copy");
    subtract_f32 = get("jaxmg_subtract_f32");
    subtract_f64 = get("jaxmg_subtract_f64");
    check_factor_f32 = get("jaxmg_check_factor_f32");
    check_factor_f64 = get("jaxmg_check_factor_f64");
    conclude_f32 = get("jaxmg_conclude_f32");
    conclude_f64 = get("jaxmg_conclude_f64");
    set_i32 = get("jaxmg_set_i32");
  }

  static const Kernels& instance() {
    static const Kernels kernels;
    return kernels;
  }
};

template <class... Arguments>
void launch(CUkernel kernel, std::int64_t blocks, unsigned threads, cudaStream_t stream, Arguments... arguments) {
  void* pointers[] = {&arguments...};
  JAXMG_CHECK(Driver::instance().launch_kernel(reinterpret_cast<CUfunction>(kernel), static_cast<unsigned>(blocks), 1,
                                               1, threads, 1, 1, 0, stream, pointers, nullptr));
}

template <class Real>
constexpr CUkernel choose(CUkernel f32, CUkernel f64) {
  return std::is_same_v<Real, float> ? f32 : f64;
}

// Enough blocks for `count` elements, and no more than fill a GPU.
std::int64_t blocks_for(std::int64_t count, int threads) {
  return std::clamp<std::int64_t>((count + threads - 1) / threads, 1, 1024);
}

}  // namespace

void launch_copy(const CopyBatch& batch, int blocks, cudaStream_t stream) {
  void* pointers[] = {const_cast<CopyBatch*>(&batch)};
  JAXMG_CHECK(Driver::instance().launch_kernel(reinterpret_cast<CUfunction>(Kernels::instance().copy),
                                               static_cast<unsigned>(blocks), 1, 1, 512, 1, 1, 0, stream, pointers,
                                               nullptr));
}

void align(CopyItem& item) {
  const auto bits = reinterpret_cast<std::uintptr_t>(item.from) | reinterpret_cast<std::uintptr_t>(item.to) |
                    static_cast<std::uintptr_t>(item.column_bytes) |
                    (item.columns > 1 ? static_cast<std::uintptr_t>(item.from_pitch | item.to_pitch) : 0);
  item.vector = bits % 16 == 0 ? 16 : bits % 8 == 0 ? 8 : 4;
}

void launch_set(std::int32_t* at, std::int32_t value, cudaStream_t stream) {
  launch(Kernels::instance().set_i32, 1, 1, stream, at, value);
}

template <class Real>
void launch_subtract(const Subtraction& subtraction, cudaStream_t stream) {
  const Kernels& k = Kernels::instance();
  launch(choose<Real>(k.subtract_f32, k.subtract_f64),
         blocks_for(static_cast<std::int64_t>(subtraction.rows) * subtraction.columns, 256), 256, stream, subtraction);
}

template <class Real>
void launch_check_factor(const Real* diagonal, std::int64_t stride, int n, int row, const int* failed,
                         std::int32_t* info, cudaStream_t stream) {
  const Kernels& k = Kernels::instance();
  launch(choose<Real>(k.check_factor_f32, k.check_factor_f64), 1, 1024, stream, diagonal,
         static_cast<long long>(stride), n, row, failed, info);
}

template <class Real>
void launch_conclude(const std::int32_t* info, int ranks, Real* x, std::int64_t count, std::int32_t* status,
                     cudaStream_t stream) {
  const Kernels& k = Kernels::instance();
  launch(choose<Real>(k.conclude_f32, k.conclude_f64), blocks_for(count, 256), 256, stream, info, ranks, no_failure, x,
         static_cast<long long>(count), status);
}

template void launch_subtract<float>(const Subtraction&, cudaStream_t);
template void launch_subtract<double>(const Subtraction&, cudaStream_t);
template void launch_check_factor<float>(const float*, std::int64_t, int, int, const int*, std::int32_t*, cudaStream_t);
template void launch_check_factor<double>(const double*, std::int64_t, int, int, const int*, std::int32_t*,
                                          cudaStream_t);
template void launch_conclude<float>(const std::int32_t*, int, float*, std::int64_t, std::int32_t*, cudaStream_t);
template void launch_conclude<double>(const std::int32_t*, int, double*, std::int64_t, std::int32_t*, cudaStream_t);

}  // namespace jaxmg::cuda
