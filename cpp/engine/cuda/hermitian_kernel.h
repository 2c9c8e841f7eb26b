// Product y = A x with columns of the lower triangle of a Hermitian matrix, each element of which is loaded once: it
// contributes to the sum of its row and, conjugated, to the sum of its column.
//
// A thread block takes a strip of rows of a chunk of columns. Its sums are stored, and a second kernel adds them up in
// a fixed order.
//
// For the kernel compiler only.
#pragma once

#include "device_scalar.h"
#include "kernel_abi.h"

namespace jaxmg {

// The first strip with elements of the lower triangle in a chunk.
template <class T>
__device__ inline int first_strip(const HermitianProduct& p, int chunk) {
  return (p.first + chunk * hermitian_chunk) / hermitian_strip<sizeof(T)>;
}

template <class T>
__device__ void hermitian_sums(const HermitianProduct& p) {
  constexpr int strip = hermitian_strip<sizeof(T)>, each = strip / 32, columns = 4, warps = hermitian_threads / 32;
  extern __shared__ __align__(16) unsigned char dynamic[];
  T* const sums = reinterpret_cast<T*>(dynamic);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int number = static_cast<int>(blockIdx.x), chunk = static_cast<int>(blockIdx.y);
  if (number < first_strip<T>(p, chunk)) return;
  const int row = number * strip + lane, begin = chunk * hermitian_chunk;
  const int end = begin + hermitian_chunk < p.own ? begin + hermitian_chunk : p.own;
  // Whether all of it is below the diagonal.
  const bool whole = number * strip >= p.first + end && (number + 1) * strip <= p.n;
  const T* const x = static_cast<const T*>(p.x);
  T of_row[each], sum[each];
#pragma unroll
  for (int i = 0; i < each; ++i) {
    of_row[i] = row + 32 * i < p.n ? x[row + 32 * i] : T{};
    sum[i] = T{};
  }
  for (int c = begin + warp * columns; c < end; c += warps * columns) {
    T a[columns][each], of_column[columns], dot[columns];
    const T* const from = static_cast<const T*>(p.a) + row + c * p.ld;
#pragma unroll
    for (int q = 0; q < columns; ++q) {
      const bool exists = c + q < end;
      const int diagonal = p.first + c + q;
      of_column[q] = exists ? x[diagonal] : T{};
      dot[q] = T{};
#pragma unroll
      for (int i = 0; i < each; ++i) {
        const int at = row + 32 * i;
        a[q][i] = (whole || (at >= diagonal && at < p.n)) && exists ? load_fresh(from + 32 * i + q * p.ld) : T{};
      }
    }
#pragma unroll
    for (int q = 0; q < columns; ++q) {
#pragma unroll
      for (int i = 0; i < each; ++i) {
        T element = a[q][i];
        if (!whole && row + 32 * i == p.first + c + q) make_real(element);
        sum[i] = sum[i] + element * of_column[q];
        if (whole || row + 32 * i != p.first + c + q) dot[q] = dot[q] + conjugate(element) * of_row[i];
      }
    }
    const T total = sums_of_warp<columns>(dot);
    constexpr int lanes = 32 / columns;
    if (lane % lanes == 0 && c + lane / lanes < end) {
      static_cast<T*>(p.of_columns)[static_cast<long long>(number) * p.own + c + lane / lanes] = total;
    }
  }
#pragma unroll
  for (int i = 0; i < each; ++i) sums[warp * strip + lane + 32 * i] = sum[i];
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < strip && number * strip + i < p.n; i += hermitian_threads) {
    T total = sums[i];
    for (int w = 1; w < warps; ++w) total = total + sums[w * strip + i];
    static_cast<T*>(p.of_rows)[static_cast<long long>(chunk) * p.n + number * strip + i] = total;
  }
}

// Adds up sums, for 32 elements of y in a thread block: a warp takes every eighth sum of each.
template <class T>
__device__ void add_hermitian_sums(const HermitianProduct& p) {
  constexpr int strip = hermitian_strip<sizeof(T)>, warps = hermitian_threads / 32;
  __shared__ __align__(16) unsigned char memory[hermitian_threads * sizeof(T)];
  T* const sums = reinterpret_cast<T*>(memory);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int row = static_cast<int>(blockIdx.x) * 32 + lane, column = row - p.first;
  T total{};
  if (row < p.n) {
    const int last_row = row / strip * strip + strip - 1, chunks = static_cast<int>(hermitian_chunks(p.own));
    for (int chunk = warp; chunk < chunks && p.first + chunk * hermitian_chunk <= last_row; chunk += warps) {
      total = total + static_cast<const T*>(p.of_rows)[static_cast<long long>(chunk) * p.n + row];
    }
    if (column >= 0 && column < p.own) {
      const int strips = static_cast<int>(hermitian_strips(p.n, strip));
      for (int number = first_strip<T>(p, column / hermitian_chunk) + warp; number < strips; number += warps) {
        total = total + static_cast<const T*>(p.of_columns)[static_cast<long long>(number) * p.own + column];
      }
    }
  }
  sums[warp * 32 + lane] = total;
  __syncthreads();
  if (warp > 0 || row >= p.n) return;
  for (int w = 1; w < warps; ++w) total = total + sums[w * 32 + lane];
  static_cast<T*>(p.y)[row] = total;
}

}  // namespace jaxmg
