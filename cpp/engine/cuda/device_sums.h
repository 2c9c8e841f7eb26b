// Sums, products and maxima over the threads of a warp or block, and the work of a thread in kernels of tridiagonal
// eigenproblems. Sums are formed in a fixed order: results do not depend on scheduling.
//
// For the kernel compiler only.
#pragma once

#include "engine/secular.h"

namespace jaxmg {

constexpr unsigned whole_warp = 0xffffffffu;

// The sum (or product) is the same in all threads, since x + y and y + x are equal.
struct WarpLanes {
  int first, stride = 32;
  __device__ WarpLanes() : first(threadIdx.x % 32) {}
  template <class Real>
  __device__ Real sum(Real x) const {
    for (int other = 16; other > 0; other /= 2) x += __shfl_xor_sync(whole_warp, x, other);
    return x;
  }
  template <class Real>
  __device__ Real product(Real x) const {
    for (int other = 16; other > 0; other /= 2) x *= __shfl_xor_sync(whole_warp, x, other);
    return x;
  }
};

// The threads of a block, of whole warps.
struct BlockLanes {
  int first, stride;
  __device__ BlockLanes() : first(threadIdx.x), stride(blockDim.x) {}
  template <class Real>
  __device__ Real sum(Real x) const {
    __shared__ Real partial[32];
    x = WarpLanes{}.sum(x);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
    __syncthreads();
    const unsigned warps = blockDim.x / 32, lane = threadIdx.x % 32;
    x = WarpLanes{}.sum(lane < warps ? partial[lane] : Real(0));
    __syncthreads();
    return x;
  }
};

// The row of Q of a thread, relative to the first own row, or -1: blocks in y cover the rows of a part.
__device__ inline Index row_of_thread(Halving parts, Index part, Index row, Index rows) {
  const Index top = parts.begin(part) - row, bottom = parts.end(part) - row;
  const Index i = (top > 0 ? top : 0) + blockIdx.y * static_cast<Index>(blockDim.x) + threadIdx.x;
  return i < bottom && i < rows ? i : -1;
}

// The eigenvalue number that a warp works on, its part of the level, and its index in that part.
struct NumberOfWarp {
  Index i, part, begin;
  int number;

  __device__ NumberOfWarp(Halving merges, Index first) {
    i = first + (blockIdx.x * static_cast<Index>(blockDim.x) + threadIdx.x) / 32;
    part = merges.part_of(i);
    begin = merges.begin(part);
    number = static_cast<int>(i - begin);
  }
};

__device__ inline void atomic_largest(float* largest, float x) {
  atomicMax(reinterpret_cast<int*>(largest), __float_as_int(x));
}
__device__ inline void atomic_largest(double* largest, double x) {
  atomicMax(reinterpret_cast<long long*>(largest), __double_as_longlong(x));
}

}  // namespace jaxmg
