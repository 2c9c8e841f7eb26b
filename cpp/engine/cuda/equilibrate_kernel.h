// Copy of columns of a matrix in single precision, scaled, and sums of magnitudes of its rows and columns, each element
// being loaded once.
//
// A thread block takes a strip of rows of a chunk of columns. Its sums are stored, and a second kernel adds them up in
// a fixed order.
//
// For the kernel compiler only.
#pragma once

#include "device_scalar.h"
#include "kernel_abi.h"

namespace jaxmg {

template <class T>
__device__ void equilibrate(const Equilibration& p) {
  using R = DeviceReal<T>;
  constexpr int strip = hermitian_strip<sizeof(R)>, each = strip / 32, warps = hermitian_threads / 32;
  constexpr int columns = DeviceScalar<T>::complex ? 2 : 4;  // in flight
  __shared__ R sums[warps][strip];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int number = static_cast<int>(blockIdx.x), chunk = static_cast<int>(blockIdx.y);
  const int row = number * strip + lane, begin = chunk * hermitian_chunk;
  const int end = begin + hermitian_chunk < p.own ? begin + hermitian_chunk : p.own;
  // Whether all of it is read.
  const bool whole = (p.lower == 0 || number * strip >= p.first + end) && (number + 1) * strip <= p.n;
  const R corner = 1 + *static_cast<const R*>(p.shift);
  R factor[each], sum[each];
#pragma unroll
  for (int i = 0; i < each; ++i) {
    factor[i] = row + 32 * i < p.n ? static_cast<const R*>(p.rows)[row + 32 * i] : R(0);
    sum[i] = 0;
  }
  for (int c = begin + warp * columns; c < end; c += warps * columns) {
    T a[columns][each];
    R total[columns];
    const T* const from = static_cast<const T*>(p.a) + row + c * p.ld;
    DeviceSingle<T>* const to = static_cast<DeviceSingle<T>*>(p.to) + row + c * p.to_ld;
#pragma unroll
    for (int q = 0; q < columns; ++q) {
      const bool exists = c + q < end;
      const int diagonal = p.first + c + q;
#pragma unroll
      for (int i = 0; i < each; ++i) {
        const int at = row + 32 * i;
        const bool read = whole || ((p.lower == 0 || at >= diagonal) && at < p.n);
        a[q][i] = read && exists ? load_fresh(from + 32 * i + q * p.ld) : T{};
      }
    }
#pragma unroll
    for (int q = 0; q < columns; ++q) {
      const bool exists = c + q < end;
      const int diagonal = p.first + c + q;
      const R of_column = exists ? static_cast<const R*>(p.columns)[diagonal] : R(0);
      total[q] = 0;
#pragma unroll
      for (int i = 0; i < each; ++i) {
        const int at = row + 32 * i;
        T value = factor[i] * (of_column * a[q][i]);
        if (at == diagonal) value = corner * value;
        if (exists && (whole || at < p.n)) to[32 * i + q * p.to_ld] = to_single(value);
        const R size = modulus(value);
        total[q] += size;
        if (p.lower == 0 || at != diagonal) sum[i] += size;
      }
    }
    const R of_columns = sums_of_warp<columns>(total);
    constexpr int lanes = 32 / columns;
    if (lane % lanes == 0 && c + lane / lanes < end) {
      static_cast<R*>(p.sums_of_columns)[static_cast<long long>(number) * p.own + c + lane / lanes] = of_columns;
    }
  }
#pragma unroll
  for (int i = 0; i < each; ++i) sums[warp][lane + 32 * i] = sum[i];
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < strip && number * strip + i < p.n; i += hermitian_threads) {
    R total = sums[0][i];
    for (int w = 1; w < warps; ++w) total += sums[w][i];
    static_cast<R*>(p.sums_of_rows)[static_cast<long long>(chunk) * p.n + number * strip + i] = total;
  }
}

// Adds up sums, for an element in a thread.
template <class R>
__device__ void add_equilibration_sums(const Equilibration& p) {
  constexpr int strip = hermitian_strip<sizeof(R)>;
  const auto sum = [](const void* parts, int count, int length, int i) {
    R total = 0;
#pragma unroll 8
    for (int k = 0; k < count; ++k) total += static_cast<const R*>(parts)[static_cast<long long>(k) * length + i];
    return total;
  };
  for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < p.n + p.own;
       i += static_cast<int>(gridDim.x * blockDim.x)) {
    if (i < p.n) {
      static_cast<R*>(p.of_rows)[i] = sum(p.sums_of_rows, static_cast<int>(hermitian_chunks(p.own)), p.n, i);
    } else {
      static_cast<R*>(p.of_columns)[i - p.n] =
          sum(p.sums_of_columns, static_cast<int>(hermitian_strips(p.n, strip)), p.own, i - p.n);
    }
  }
}

}  // namespace jaxmg
