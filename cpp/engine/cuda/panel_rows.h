// The rows of a panel of which each thread block of a cooperative launch keeps some, in shared memory where they fit.
//
// For the kernel compiler only.
#pragma once

#include "device_scalar.h"
#include "kernel_abi.h"

namespace jaxmg {

// Barrier of all blocks of the grid, which must run at once: waits until each has arrived `round` times. Their earlier
// writes are visible afterwards.
__device__ inline void grid_barrier(unsigned* arrived, unsigned round) {
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    atomicAdd(arrived, 1u);
    while (*static_cast<volatile unsigned*>(arrived) < round * gridDim.x) {
    }
    __threadfence();
  }
  __syncthreads();
}

// The rows of a panel that a thread block works on. Functions take it by value, which keeps its members in registers.
template <class T>
struct PanelRows {
  const PanelQr& q;
  int warp, lane, warps, blocks;
  int first, rows;  // in the panel; every block has at least one row
  int reflectors;
  T *v, *x;   // in shared memory: the reflector, and the next column below its pivot
  T* global;  // these rows in the panel, and their working copy
  T* a;
  long long ld;
  unsigned* rounds;  // barriers so far, for each thread

  __device__ __forceinline__ void barrier() const { grid_barrier(q.arrived, ++*rounds); }

  // Sums of all blocks for column c, followed by the pivot's row; double-buffered over columns.
  __device__ __forceinline__ T* partial(int c) const {
    return static_cast<T*>(q.scratch) + (c & 1) * q.n * (blocks + 1);
  }
};

// Copies the rows of this block to shared memory, with zeros up to the last one that has room. Returns whether any
// element below the panel's diagonal is not zero.
template <class T>
__device__ __forceinline__ bool load_rows(PanelRows<T> p) {
  bool low = false;
  for (int j = p.warp; j < p.q.n; j += p.warps) {
    for (int i = p.lane; i < p.q.rows; i += 32) {
      const T x = i < p.rows ? p.global[i + j * p.q.ld] : T{};
      low = low || (p.first + i > j && !(real_part(x) == 0 && imaginary_part(x) == 0));
      p.a[i + j * p.ld] = x;
    }
  }
  return __syncthreads_or(low) != 0;
}

template <class T>
__device__ __forceinline__ void store_rows(PanelRows<T> p) {
  __syncthreads();
  for (int j = p.warp; j < p.q.n; j += p.warps) {
    for (int i = p.lane; i < p.rows; i += 32) p.global[i + j * p.q.ld] = p.a[i + j * p.ld];
  }
}

}  // namespace jaxmg
