// X = L^-1 B for a unit lower triangle L of small order, in place of B. A warp keeps a few columns of B in registers, a
// row in every lane of 32, and subtracts one column of L after another:
//
//   x_i = x_i - l_ik x_k    for all i > k, once x_k is known
//
// Columns of L pass through shared memory. The next ones are loaded while the warps work with those before.
//
// For the kernel compiler only.
#pragma once

#include "device_scalar.h"
#include "kernel_abi.h"

namespace jaxmg {

template <class T>
__device__ void solve_unit_lower(const UnitLowerSolve& p) {
  constexpr int depth = 16;  // columns of L at once
  constexpr int pieces = unit_lower_order / 32, batch = unit_lower_batch;
  __shared__ T part[depth][unit_lower_order];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int first = (static_cast<int>(blockIdx.x) * (unit_lower_order / 32) + warp) * batch;
  const T* const l = static_cast<const T*>(p.l);
  T* const b = static_cast<T*>(p.b);

  // The piece with the rows of the current columns of L comes first.
  T x[batch][pieces];
#pragma unroll
  for (int j = 0; j < batch; ++j) {
#pragma unroll
    for (int r = 0; r < pieces; ++r) {
      const int row = 32 * r + lane;
      x[j][r] = row < p.n && first + j < p.columns ? b[row + (first + j) * p.ldb] : T{};
    }
  }
  T next[depth];  // of row threadIdx.x
  const auto load = [&](int column) {
    const int row = static_cast<int>(threadIdx.x);
#pragma unroll
    for (int k = 0; k < depth; ++k) {
      next[k] = row < p.n && column + k < row ? l[row + (column + k) * p.ldl] : T{};
    }
  };

  load(0);
  for (int column = 0; column < p.n; column += depth) {
    __syncthreads();
#pragma unroll
    for (int k = 0; k < depth; ++k) part[k][threadIdx.x] = next[k];
    __syncthreads();
    load(column + depth);

    const int above = column / 32 * 32;  // rows of pieces that are done
#pragma unroll 4
    for (int k = 0; k < depth; ++k) {
      const int pivot = column - above + k;
      T known[batch];
#pragma unroll
      for (int j = 0; j < batch; ++j) known[j] = from_lane(x[j][0], pivot);
#pragma unroll
      for (int r = 0; r < pieces; ++r) {
        if (above + 32 * r >= p.n) continue;
        const T factor = part[k][above + 32 * r + lane];
#pragma unroll
        for (int j = 0; j < batch; ++j) {
          if (r > 0 || lane > pivot) x[j][r] = x[j][r] - factor * known[j];
        }
      }
    }

    if ((column + depth) % 32 != 0 && column + depth < p.n) continue;
#pragma unroll
    for (int j = 0; j < batch; ++j) {
      if (above + lane < p.n && first + j < p.columns) b[above + lane + (first + j) * p.ldb] = x[j][0];
#pragma unroll
      for (int r = 0; r + 1 < pieces; ++r) x[j][r] = x[j][r + 1];
    }
  }
}

}  // namespace jaxmg
