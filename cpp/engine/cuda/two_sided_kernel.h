// W of the two-sided update A - V W^H - W V^H of a Hermitian matrix (algorithms/eigen/band_reduction.h), in one
// cooperative launch:
//
//   P = V^H Z,  S = T^H P T,  W = Z T - 1/2 V S        for Z = A V
//
// By products of matrices these are five launches, most of them shorter than a launch takes. Thread blocks take chunks
// of rows, and the triangular matrices are formed by all of them.
//
// For the kernel compiler only.
#pragma once

#include "device_scalar.h"
#include "kernel_abi.h"
#include "panel_rows.h"
#include "tile_product.h"

namespace jaxmg {

template <class T>
struct TwoSidedRows {
  const TwoSided& q;
  int warp, lane, warps;
  int n, eighths, ld, pitch;  // columns, as tiles; distances of columns of a chunk and of small matrices
  T *v, *z;                   // a chunk of rows, with zeros below
  T *p, *x;                   // P, then -1/2 S; and P T

  // Calls body(row, column) for this warp's tiles of a matrix with `rows` tiles to a column.
  template <class Body>
  __device__ __forceinline__ void for_tiles(int rows, Body body) const {
    for (int t = warp; t < rows * eighths; t += warps) body(t % rows, t / rows);
  }

  __device__ __forceinline__ int rows_of(int chunk) const { return min(q.rows, q.m - chunk * q.rows); }

  __device__ __forceinline__ void load(int chunk) const {
    const int first = chunk * q.rows, rows = rows_of(chunk);
    const T* const from_v = static_cast<const T*>(q.v) + first;
    const T* const from_z = static_cast<const T*>(q.w) + first;
    for (int j = warp; j < n; j += warps) {
      for (int i = lane; i < q.rows; i += 32) {
        v[i + j * ld] = i < rows ? from_v[i + j * q.ldv] : T{};
        z[i + j * ld] = i < rows ? from_z[i + j * q.ldw] : T{};
      }
    }
    __syncthreads();
  }

  // Small matrices with zeros beyond their n columns and rows.
  __device__ __forceinline__ static T within(bool inside, const T* at) { return inside ? *at : T{}; }

  __device__ __forceinline__ void form_p() const {
    constexpr int most = 8 * 8 / (qr_threads / 32);  // tiles of a warp
    T sum[most][2] = {};
    for (int chunk = blockIdx.x; chunk * q.rows < q.m; chunk += gridDim.x) {
      if (chunk != static_cast<int>(blockIdx.x)) __syncthreads();
      load(chunk);
#pragma unroll
      for (int s = 0; s < most; ++s) {
        const int t = warp + s * warps;
        if (t >= eighths * eighths) continue;
        const T* const left = v + 8 * (t % eighths) * ld;
        const T* const right = z + 8 * (t / eighths) * ld;
        const int i_end = n - 1 - 8 * (t % eighths), j_end = n - 1 - 8 * (t / eighths);
        multiply_tile<T>(
            sum[s], q.rows, [&](int i, int k) { return conjugate(left[k + min(i, i_end) * ld]); },
            [&](int k, int j) { return right[k + min(j, j_end) * ld]; });
      }
    }
    const int elements = 64 * eighths * eighths;
    T* const total = static_cast<T*>(q.scratch);
    T* const partial = total + elements;
#pragma unroll
    for (int s = 0; s < most; ++s) {
      const int t = warp + s * warps;
      if (t >= eighths * eighths) continue;
      partial[blockIdx.x * elements + 64 * t + 2 * lane] = sum[s][0];
      partial[blockIdx.x * elements + 64 * t + 2 * lane + 1] = sum[s][1];
    }
    grid_barrier(q.arrived, 1);
    // A block adds up 32 numbers at a time, a warp the numbers of every 16th block.
    for (int piece = blockIdx.x; piece < elements / 32; piece += gridDim.x) {
      T part{};
#pragma unroll 4
      for (int block = warp; block < static_cast<int>(gridDim.x); block += warps) {
        part = part + load_fresh(partial + block * elements + 32 * piece + lane);
      }
      x[32 * warp + lane] = part;
      __syncthreads();
      if (warp == 0) {
        for (int w = 1; w < warps; ++w) part = part + x[32 * w + lane];
        total[32 * piece + lane] = part;
      }
      __syncthreads();
    }
    grid_barrier(q.arrived, 2);
    for_tiles(eighths, [&](int row, int column) {
      const T* const from = total + 64 * (row + column * eighths) + 2 * lane;
      T* const to = p + 8 * row + lane / 4 + (8 * column + 2 * (lane % 4)) * pitch;
      to[0] = load_fresh(from);
      to[pitch] = load_fresh(from + 1);
    });
    __syncthreads();
  }

  // P = -1/2 T^H P T.
  __device__ __forceinline__ void form_s() const {
    const T* const t = static_cast<const T*>(q.t);
    for_tiles(eighths, [&](int row, int column) {
      T sum[2] = {};
      multiply_tile<T>(
          sum, 8 * eighths, [&](int i, int k) { return within(k < n, p + 8 * row + i + k * pitch); },
          [&](int k, int j) {
            const int c = 8 * column + j;
            return within(k < n && c < n, t + k + c * q.ldt);
          });
      T* const to = x + 8 * row + lane / 4 + (8 * column + 2 * (lane % 4)) * pitch;
      to[0] = sum[0];
      to[pitch] = sum[1];
    });
    __syncthreads();
    for_tiles(eighths, [&](int row, int column) {
      T sum[2] = {};
      multiply_tile<T>(
          sum, 8 * eighths,
          [&](int i, int k) {
            const int r = 8 * row + i;
            return conjugate(within(k < n && r < n, t + k + r * q.ldt));
          },
          [&](int k, int j) { return within(k < n, x + k + (8 * column + j) * pitch); });
      const DeviceReal<T> factor = -0.5f;
      T* const to = p + 8 * row + lane / 4 + (8 * column + 2 * (lane % 4)) * pitch;
      to[0] = factor * sum[0];
      to[pitch] = factor * sum[1];
    });
    __syncthreads();
  }

  __device__ __forceinline__ void form_w() const {
    const T* const t = static_cast<const T*>(q.t);
    // The last chunk is still there.
    int chunk = blockIdx.x;
    while ((chunk + static_cast<int>(gridDim.x)) * q.rows < q.m) chunk += gridDim.x;
    for (bool loaded = true; chunk >= 0; chunk -= gridDim.x, loaded = false) {
      if (!loaded) {
        __syncthreads();
        load(chunk);
      }
      const int rows = rows_of(chunk);
      T* const w = static_cast<T*>(q.w) + chunk * q.rows;
      for_tiles(q.rows / 8, [&](int row, int column) {
        T sum[2] = {};
        multiply_tile<T>(
            sum, 8 * eighths, [&](int i, int k) { return within(k < n, z + 8 * row + i + k * ld); },
            [&](int k, int j) {
              const int c = 8 * column + j;
              return within(k < n && c < n, t + k + c * q.ldt);
            });
        multiply_tile<T>(
            sum, 8 * eighths, [&](int i, int k) { return within(k < n, v + 8 * row + i + k * ld); },
            [&](int k, int j) { return within(k < n, p + k + (8 * column + j) * pitch); });
        const int i = 8 * row + lane / 4, j = 8 * column + 2 * (lane % 4);
        if (i < rows && j < n) w[i + j * q.ldw] = sum[0];
        if (i < rows && j + 1 < n) w[i + (j + 1) * q.ldw] = sum[1];
      });
    }
  }
};

template <class T>
__device__ void form_two_sided(const TwoSided& q) {
  extern __shared__ __align__(16) unsigned char dynamic[];
  const int width = (q.n + 7) / 8 * 8, ld = panel_pitch(q.rows), pitch = panel_pitch(width);
  T* const v = reinterpret_cast<T*>(dynamic);
  T* const p = v + 2 * q.n * ld;
  const TwoSidedRows<T> rows{q,
                             static_cast<int>(threadIdx.x) / 32,
                             static_cast<int>(threadIdx.x) % 32,
                             static_cast<int>(blockDim.x) / 32,
                             q.n,
                             width / 8,
                             ld,
                             pitch,
                             v,
                             v + q.n * ld,
                             p,
                             p + width * pitch};
  rows.form_p();
  rows.form_s();
  rows.form_w();
}

}  // namespace jaxmg
