// Launches of the kernels in potrf_kernel.h, and the sizes up to which they are faster than NVIDIA's libraries.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "core/ceil_div.h"
#include "core/error.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/cuda/check.h"
#include "engine/cuda/driver.h"
#include "engine/cuda/kernel_abi.h"
#include "engine/cuda/launch.h"

namespace jaxmg::cuda {

// The limits were found beside products that fill the GPU, where these kernels run on the critical path (H100; times in
// milliseconds).

// Largest order that potrf factors by its own kernel. Larger blocks have enough products for cuSOLVER:
//
//               order    256         512         1024        1536
//   f32                0.30 0.40   0.37 0.52   0.64 0.82   1.16 0.97     own, cuSOLVER
//   f64                0.32 0.44   0.41 0.67   0.70 1.10   1.22 1.34
//   c64                0.63 0.60   1.10 0.92   2.00 1.65   2.79 2.01
//   c128               0.71 0.92   1.32 1.48   2.44 1.44   3.70 1.98
template <class T>
inline constexpr std::int64_t largest_own_potrf =
    is_complex<T> ? (sizeof(T) == 8 ? 256 : 512) : (sizeof(T) == 8 ? 1536 : 1024);

// Largest number of rows of X that a solve from the right takes by its own kernel. More rows fill the GPU in cuBLAS.
// For 1024 columns:
//
//                rows    2048        4096        8192        16384
//   f32                0.60 2.08   0.64 2.18   1.02 2.37                 own, cuBLAS
//   f64                0.54 2.19   0.63 2.34   1.03 2.57   1.81 3.09
//   c64                0.79 2.28   0.88 2.52   1.53 2.92   2.81 3.85
//   c128               2.01 2.44   2.50 2.75   4.12 3.31   7.02 4.49
//
// The time of these kernels grows faster with the columns than cuBLAS's; wider blocks keep lower limits.
template <class T>
constexpr std::int64_t most_rows_of_own_solve(std::int64_t columns) {
  if (columns > 1024) return sizeof(T) == 16 ? 2048 : 4096;
  return sizeof(T) == 16 ? 4096 : 16384;
}
// Up to this number, thread blocks take half as many rows, which takes less time and more thread blocks.
inline constexpr std::int64_t few_rows_of_own_solve = 2048;

// Bytes that own_potrf() needs to count finished tiles.
template <class T>
constexpr std::int64_t progress_bytes(std::int64_t n) {
  return (1 + ceil_div(n, std::int64_t{cholesky_width<sizeof(T)>})) * static_cast<std::int64_t>(sizeof(int));
}

// Dimensions of a launch for `rows` rows in thread blocks of `rows_of_block`.
template <class T>
Grid row_blocks(CUkernel kernel, std::int64_t rows, std::int64_t rows_of_block, int threads) {
  const std::int64_t bytes = cholesky_shared_bytes<sizeof(T)>(static_cast<int>(rows_of_block));
  int device = 0;
  JAXMG_CHECK(cudaGetDevice(&device));
  JAXMG_CHECK(Driver::instance().kernel_set_attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                                      static_cast<int>(bytes), kernel, device));
  return {ceil_div(rows, rows_of_block), static_cast<unsigned>(threads), 1, bytes};
}

// A = L L^H in the lower triangle; `progress` has progress_bytes(n).
template <class T>
void own_potrf(cudaStream_t stream, MatrixView<T> a, std::int32_t* failed, std::byte* progress) {
  JAXMG_CHECK(cudaMemsetAsync(progress, 0, static_cast<std::size_t>(progress_bytes<T>(a.rows)), stream));
  CholeskyBlock block{};
  block.a = a.data;
  block.ld = a.ld;
  block.failed = failed;
  block.progress = reinterpret_cast<int*>(progress);
  block.n = checked_int(a.rows, "n");
  const CUkernel potrf = kernel<"potrf", T>();
  launch(potrf, row_blocks<T>(potrf, a.rows, cholesky_width<sizeof(T)>, cholesky_threads<sizeof(T)>), stream, block);
}

// X L^H = B in place of B, by thread blocks of as many rows as a tile has columns, or of half as many.
template <class T>
void own_solve_right(cudaStream_t stream, MatrixView<T> l, MatrixView<T> x, bool few_rows) {
  RightSolve system{};
  system.l = l.data;
  system.ldl = l.ld;
  system.x = x.data;
  system.ldx = x.ld;
  system.rows = checked_int(x.rows, "rows");
  system.n = checked_int(x.columns, "n");
  const CUkernel solve = few_rows ? kernel<"solve_right_few", T>() : kernel<"solve_right", T>();
  const int rows_of_block = cholesky_width<sizeof(T)> / (few_rows ? 2 : 1);
  launch(solve, row_blocks<T>(solve, x.rows, rows_of_block, cholesky_threads<sizeof(T)> + 32), stream, system);
}

}  // namespace jaxmg::cuda
