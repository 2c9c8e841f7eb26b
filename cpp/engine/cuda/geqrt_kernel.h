// QR factorisation of a tall panel by Householder reflectors, in one cooperative launch: every thread block keeps some
// rows, in shared memory where they fit.
//
// Each reflector takes one meeting of the blocks. For column c with pivot alpha and x below it, sums over all rows
// below the pivot of x^H A tell the norm of x (column c), what the reflector needs of the columns after c, and V^H v
// for T of those before. While a block applies reflector c to its rows it already adds up the sums of column c + 1, so
// its rows are passed over once a column. No norm is updated from an older one and no Gram matrix is factored: panels
// of any rank are factored as backward stably as by LAPACK's geqrf (Cholesky-based QR breaks down on them).
//
// Only the kernel compiler sees this.
#pragma once

#include "device_scalar.h"
#include "engine/scaling.h"
#include "kernel_abi.h"

namespace jaxmg {

// All blocks of the grid, which run at once, have come here `turn` times; what they wrote before is seen after.
__device__ inline void grid_barrier(unsigned* arrived, unsigned turn) {
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    atomicAdd(arrived, 1u);
    while (*static_cast<volatile unsigned*>(arrived) < turn * gridDim.x) {
    }
    __threadfence();
  }
  __syncthreads();
}

template <class T>
__device__ void geqrt(const PanelQr& q) {
  using Real = DeviceReal<T>;
  extern __shared__ __align__(16) unsigned char dynamic[];
  __shared__ T sums[qr_columns], row[qr_columns], w[qr_columns];
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int warps = static_cast<int>(blockDim.x) / 32, blocks = static_cast<int>(gridDim.x);
  const int first = static_cast<int>(blockIdx.x) * q.rows;
  const int rows = min(q.rows, q.m - first);  // the grid has no block without rows
  const int reflectors = min(q.m, q.n);
  T* const v = reinterpret_cast<T*>(dynamic);  // the reflector, and the next column below its pivot
  T* const x = v + q.rows;
  T* const global = static_cast<T*>(q.a) + first;
  T* const a = q.in_shared ? x + q.rows : global;
  const long long ld = q.in_shared ? q.rows : q.ld;
  T* const t = static_cast<T*>(q.t);
  const auto partial = [&](int c) { return static_cast<T*>(q.scratch) + (c & 1) * q.n * (blocks + 1); };
  // Of this block's sums for column c, and of the pivot's row.
  const auto publish_row = [&](int c) {
    __syncthreads();
    if (c < first || c >= first + rows) return;
    for (int j = threadIdx.x; j < q.n; j += blockDim.x) partial(c)[q.n * blocks + j] = a[c - first + j * ld];
  };
  const auto publish_sum = [&](int c, int j, T sum) {
    sum = warp_sum(sum);
    if (lane == 0) partial(c)[j * blocks + blockIdx.x] = sum;
  };

  if (q.in_shared) {
    for (int j = warp; j < q.n; j += warps) {
      for (int i = lane; i < rows; i += 32) a[i + j * ld] = global[i + j * q.ld];
    }
    __syncthreads();
  }
  for (int i = threadIdx.x; i < rows; i += blockDim.x) x[i] = first + i > 0 ? a[i] : T{};
  __syncthreads();
  for (int j = warp; j < q.n; j += warps) {
    T sum{};
    for (int i = lane; i < rows; i += 32) sum = sum + conjugate(x[i]) * a[i + j * ld];
    publish_sum(0, j, sum);
  }

  for (int c = 0; c < reflectors; ++c) {
    publish_row(c);
    grid_barrier(q.arrived, c + 1);
    const T* const all = partial(c);
    for (int j = warp; j < q.n; j += warps) {
      T sum{};
      for (int block = lane; block < blocks; block += 32) sum = sum + load_fresh(all + j * blocks + block);
      sum = warp_sum(sum);
      if (lane == 0) {
        sums[j] = sum;
        row[j] = load_fresh(all + q.n * blocks + j);
      }
    }
    __syncthreads();

    // LAPACK's larfg: H = I - tau v v^H with v = (1, scale x), H^H (alpha, x) = (beta, 0).
    const T alpha = row[c];
    const Real squares = real_part(sums[c]), alpha_im = imaginary_part(alpha), alpha_re = real_part(alpha);
    T tau{}, scale{};
    Real beta = alpha_re;
    const Real total = alpha_re * alpha_re + alpha_im * alpha_im + squares;
    if ((squares != 0 || alpha_im != 0) && !(total < least_squares_sum<Real>())) {
      beta = -copysign(sqrt(total), alpha_re);
      tau = scalar<T>((beta - alpha_re) / beta, -alpha_im / beta);
      const Real re = alpha_re - beta, modulus = re * re + alpha_im * alpha_im;
      scale = scalar<T>(re / modulus, -alpha_im / modulus);
    }
    for (int j = threadIdx.x; j < q.n; j += blockDim.x) {
      // After c: tau^H v^H A. Before c: V^H v.
      w[j] = j > c ? conjugate(tau) * (row[j] + conjugate(scale) * sums[j])
                   : conjugate(row[j]) + conjugate(sums[j]) * scale;
    }
    __syncthreads();

    // T = [T  -tau T V^H v; tau], by the last block, which has the fewest rows.
    if (blockIdx.x == gridDim.x - 1) {
      const int part = static_cast<int>(threadIdx.x) % 8;  // eight threads for each row
      for (int base = 0; base < reflectors; base += static_cast<int>(blockDim.x) / 8) {
        const int i = base + static_cast<int>(threadIdx.x) / 8;
        T sum{};
        for (int k = i + part; k < c; k += 8) sum = sum + t[i + k * q.ldt] * w[k];
        for (int mask = 4; mask > 0; mask /= 2) sum = sum + shuffle_xor(sum, mask);
        if (part == 0 && i < reflectors) t[i + c * q.ldt] = i < c ? -(tau * sum) : i == c ? tau : T{};
      }
    }

    const int next = c + 1;
    for (int i = threadIdx.x; i < rows; i += blockDim.x) {
      const int at = first + i;
      const T vi = at > c ? a[i + c * ld] * scale : at == c ? scalar<T>(1, 0) : T{};
      v[i] = vi;
      if (at > c) a[i + c * ld] = vi;
      if (at == c) a[i + c * ld] = scalar<T>(beta, 0);
      x[i] = T{};
      if (next < reflectors) {
        const T updated = a[i + next * ld] - vi * w[next];
        a[i + next * ld] = updated;
        if (at > next) x[i] = updated;
      }
    }
    __syncthreads();
    for (int j = warp; j < q.n; j += warps) {
      T sum{};
      if (j > next || (j == next && next == reflectors)) {
        const T wj = w[j];
        for (int i = lane; i < rows; i += 32) {
          const T updated = a[i + j * ld] - v[i] * wj;
          a[i + j * ld] = updated;
          sum = sum + conjugate(x[i]) * updated;
        }
      } else if (next < reflectors) {
        for (int i = lane; i < rows; i += 32) sum = sum + conjugate(x[i]) * a[i + j * ld];
      }
      if (next < reflectors) publish_sum(next, j, sum);
    }
  }

  if (q.in_shared) {
    __syncthreads();
    for (int j = warp; j < q.n; j += warps) {
      for (int i = lane; i < rows; i += 32) global[i + j * q.ld] = a[i + j * ld];
    }
  }
}

}  // namespace jaxmg
