// A pass over the rows of a tall matrix A for the residuals of least squares and their products with A^H, which reads
// A once:
//
//   R = W - M^H X,  G = M R        columns of M, n x m, are the conjugated rows of A
//
// and, below G, for the squared norms of the columns of R.
//
// A thread holds some rows of M: its elements of X, and of the sum G. A block takes `batch` columns of M at a time. It
// adds up the products of its threads with X, and multiplies the residuals by the same elements, which are still in
// registers. Loads of the next columns are in flight meanwhile. Each block writes its own sum; add_sums() adds these in
// a fixed order.
#pragma once

#include "device_scalar.h"
#include "kernel_abi.h"

namespace jaxmg {

// Sums of `count` values over a warp; a lane gets that of value lane / (32 / count).
template <int half, int mask, class T, int count>
__device__ T sum_values(T (&values)[count], int lane) {
  if constexpr (half > 0) {
    const bool upper = (lane & mask) != 0;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const T kept = upper ? values[i + half] : values[i], given = upper ? values[i] : values[i + half];
      values[i] = kept + shuffle_xor(given, mask);
    }
    return sum_values<half / 2, mask / 2>(values, lane);
  } else if constexpr (mask > 0) {
    values[0] = values[0] + shuffle_xor(values[0], mask);
    return sum_values<0, mask / 2>(values, lane);
  } else {
    return values[0];
  }
}

template <class T, int vectors, int batch>
__device__ void row_pass(const RowPass& p) {
  constexpr int own = row_pass_columns<sizeof(T)>, values = vectors * batch;
  __shared__ T partial[32][values], residual[values];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32, threads = blockDim.x;
  const T* const x = static_cast<const T*>(p.x);
  T unknown[vectors][own], sum[vectors][own];
#pragma unroll
  for (int k = 0; k < vectors; ++k) {
#pragma unroll
    for (int c = 0; c < own; ++c) {
      const int j = threadIdx.x + c * threads;
      unknown[k][c] = j < p.n && k < p.columns ? x[j + k * p.ldx] : T{};
      sum[k][c] = T{};
    }
  }

  const long long share = (p.m + static_cast<long long>(gridDim.x) * batch - 1) / (gridDim.x * batch) * batch;
  const long long first = blockIdx.x * share, last = first + share < p.m ? first + share : p.m;
  const auto load = [&](long long row, T(&to)[batch][own]) {
#pragma unroll
    for (int b = 0; b < batch; ++b) {
      const T* const column = static_cast<const T*>(p.a) + (row + b) * p.ld;
#pragma unroll
      for (int c = 0; c < own; ++c) {
        const int j = threadIdx.x + c * threads;
        to[b][c] = row + b < last && j < p.n ? column[j] : T{};
      }
    }
  };
  // Of the right-hand sides, a number for each of the first threads.
  const int side = threadIdx.x / batch;
  const bool takes_part = threadIdx.x < values && side < p.columns;
  const auto load_right = [&](long long row) {
    const long long i = row + threadIdx.x % batch;
    return takes_part && i < last && side < p.right ? static_cast<const T*>(p.w)[i + side * p.ldw] : T{};
  };
  DeviceReal<T> squares{};
  T next[batch][own], next_right = load_right(first);
  load(first, next);
  for (long long row = first; row < last; row += batch) {
    T now[batch][own], products[values];
#pragma unroll
    for (int b = 0; b < batch; ++b) {
#pragma unroll
      for (int c = 0; c < own; ++c) now[b][c] = next[b][c];
    }
    const T right = next_right;
    next_right = load_right(row + batch);
    load(row + batch, next);
#pragma unroll
    for (int k = 0; k < vectors; ++k) {
#pragma unroll
      for (int b = 0; b < batch; ++b) {
        T product{};
#pragma unroll
        for (int c = 0; c < own; ++c) product = product + conjugate(now[b][c]) * unknown[k][c];
        products[k * batch + b] = product;
      }
    }
    const T total = sum_values<values / 2, 16>(products, lane);
    constexpr int lanes = 32 / values;  // with the same sum
    if (lane % lanes == 0) partial[warp][lane / lanes] = total;
    __syncthreads();
    if (threadIdx.x < values) {
      T product{};
      for (int w = 0; w < warps; ++w) product = product + partial[w][threadIdx.x];
      const long long i = row + threadIdx.x % batch;
      const T left = right - product;
      if (takes_part && i < last && p.r != nullptr) static_cast<T*>(p.r)[i + side * p.ldr] = left;
      residual[threadIdx.x] = left;
      squares += squared_modulus(left);
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < vectors; ++k) {
#pragma unroll
      for (int b = 0; b < batch; ++b) {
        const T left = residual[k * batch + b];
#pragma unroll
        for (int c = 0; c < own; ++c) sum[k][c] = sum[k][c] + now[b][c] * left;
      }
    }
  }

  T* const sums = static_cast<T*>(p.sums) + static_cast<long long>(blockIdx.x) * (p.n + 1) * p.columns;
  if (warp == 0) {
#pragma unroll
    for (int mask = batch / 2; mask > 0; mask /= 2) squares += shuffle_xor(squares, mask);
    if (takes_part && threadIdx.x % batch == 0) sums[p.n + side * (p.n + 1)] = scalar<T>(squares, 0);
  }
#pragma unroll
  for (int k = 0; k < vectors; ++k) {
    if (k >= p.columns) break;
#pragma unroll
    for (int c = 0; c < own; ++c) {
      const int j = threadIdx.x + c * threads;
      if (j < p.n) sums[j + k * (p.n + 1)] = sum[k][c];
    }
  }
}

// The sum over all blocks: a warp's lanes for different elements, and its warps for different blocks.
template <class T>
__device__ void add_sums(const T* sums, int blocks, int n, int columns, T* g, long long ldg) {
  __shared__ T partial[8][32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int at = blockIdx.x * 32 + lane, count = n * columns;
  T sum{};
  if (at < count) {
#pragma unroll 4
    for (int b = warp; b < blocks; b += 8) sum = sum + sums[at + static_cast<long long>(b) * count];
  }
  partial[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || at >= count) return;
  for (int w = 1; w < 8; ++w) sum = sum + partial[w][lane];
  g[at % n + at / n * ldg] = sum;
}

}  // namespace jaxmg
