// QR factorisation of a tall panel in one cooperative launch: by CholeskyQR (cholesky_qr_kernel.h) and, where that
// fails or the panel does not fit, by Householder reflectors, column by column.
//
// Each reflector takes one barrier of all blocks. For column c with pivot alpha and x below it, the sums over all rows
// below the pivot of x^H A give the norm of x (column c), the projections of the columns after c on the reflector, and
// V^H v for T (columns before c). While a block applies reflector c to its rows it accumulates the sums of column c +
// 1, and therefore passes over its rows once per column. No norm is updated from an older one and no Gram matrix is
// factored: panels of any rank are factored as backward stably as by LAPACK's geqrf (Cholesky-based QR breaks down on
// them).
//
// For the kernel compiler only.
#pragma once

#include "cholesky_qr_kernel.h"
#include "device_scalar.h"
#include "engine/scaling.h"
#include "kernel_abi.h"
#include "panel_rows.h"

namespace jaxmg {

// A reflector H = I - tau (1, scale x) (1, scale x)^H with H^H (alpha, x) = (beta, 0).
template <class T>
struct PanelReflector {
  T tau, scale;
  DeviceReal<T> beta;
};

// Publishes the pivot's row of column c, if this block owns it.
template <class T>
__device__ __forceinline__ void publish_row(PanelRows<T> p, int c) {
  __syncthreads();
  if (c < p.first || c >= p.first + p.rows) return;
  for (int j = threadIdx.x; j < p.q.n; j += blockDim.x)
    p.partial(c)[p.q.n * p.blocks + j] = p.a[c - p.first + j * p.ld];
}

// Publishes this block's sum for columns c and j; each lane of the warp holds a share of it.
template <class T>
__device__ __forceinline__ void publish_sum(PanelRows<T> p, int c, int j, T sum) {
  sum = warp_sum(sum);
  if (p.lane == 0) p.partial(c)[j * p.blocks + blockIdx.x] = sum;
}

// Computes and publishes the sums of the first column.
template <class T>
__device__ __forceinline__ void start_sums(PanelRows<T> p) {
  for (int i = threadIdx.x; i < p.rows; i += blockDim.x) p.x[i] = p.first + i > 0 ? p.a[i] : T{};
  __syncthreads();
  for (int j = p.warp; j < p.q.n; j += p.warps) {
    T sum{};
    for (int i = p.lane; i < p.rows; i += 32) sum = sum + conjugate(p.x[i]) * p.a[i + j * p.ld];
    publish_sum(p, 0, j, sum);
  }
}

// Adds up the sums that all blocks have published for column c, and reads the pivot's row.
template <class T>
__device__ __forceinline__ void gather_sums(PanelRows<T> p, int c, T* sums, T* row) {
  const T* const all = p.partial(c);
  for (int j = p.warp; j < p.q.n; j += p.warps) {
    T sum{};
    for (int block = p.lane; block < p.blocks; block += 32) sum = sum + load_fresh(all + j * p.blocks + block);
    sum = warp_sum(sum);
    if (p.lane == 0) {
      sums[j] = sum;
      row[j] = load_fresh(all + p.q.n * p.blocks + j);
    }
  }
  __syncthreads();
}

// LAPACK's larfg, from alpha and the sum of squares of x.
template <class T>
__device__ __forceinline__ PanelReflector<T> make_panel_reflector(T alpha, DeviceReal<T> squares) {
  using Real = DeviceReal<T>;
  const Real alpha_im = imaginary_part(alpha), alpha_re = real_part(alpha);
  PanelReflector<T> h{T{}, T{}, alpha_re};
  const Real total = alpha_re * alpha_re + alpha_im * alpha_im + squares;
  if ((squares != 0 || alpha_im != 0) && !(total < least_squares_sum<Real>())) {
    h.beta = -copysign(sqrt(total), alpha_re);
    h.tau = scalar<T>((h.beta - alpha_re) / h.beta, -alpha_im / h.beta);
    const Real re = alpha_re - h.beta, modulus = re * re + alpha_im * alpha_im;
    h.scale = scalar<T>(re / modulus, -alpha_im / modulus);
  }
  return h;
}

// Column c of T = [T  -tau T V^H v; tau], by the last block, which has the fewest rows.
template <class T>
__device__ __forceinline__ void extend_t(PanelRows<T> p, int c, T tau, const T* w) {
  T* const t = static_cast<T*>(p.q.t);
  const int part = static_cast<int>(threadIdx.x) % 8;  // eight threads for each row
  for (int base = 0; base < p.reflectors; base += static_cast<int>(blockDim.x) / 8) {
    const int i = base + static_cast<int>(threadIdx.x) / 8;
    T sum{};
    for (int k = i + part; k < c; k += 8) sum = sum + t[i + k * p.q.ldt] * w[k];
    for (int mask = 4; mask > 0; mask /= 2) sum = sum + shuffle_xor(sum, mask);
    if (part == 0 && i < p.reflectors) t[i + c * p.q.ldt] = i < c ? -(tau * sum) : i == c ? tau : T{};
  }
}

// Stores reflector c in its column, and applies it to the next column.
template <class T>
__device__ __forceinline__ void apply_to_next(PanelRows<T> p, int c, const PanelReflector<T>& h, const T* w) {
  const int next = c + 1;
  for (int i = threadIdx.x; i < p.rows; i += blockDim.x) {
    const int at = p.first + i;
    const T vi = at > c ? p.a[i + c * p.ld] * h.scale : at == c ? scalar<T>(1, 0) : T{};
    p.v[i] = vi;
    if (at > c) p.a[i + c * p.ld] = vi;
    if (at == c) p.a[i + c * p.ld] = scalar<T>(h.beta, 0);
    p.x[i] = T{};
    if (next < p.reflectors) {
      const T updated = p.a[i + next * p.ld] - vi * w[next];
      p.a[i + next * p.ld] = updated;
      if (at > next) p.x[i] = updated;
    }
  }
  __syncthreads();
}

// Applies reflector c to the columns after the next, and accumulates the sums of the next column.
template <class T>
__device__ __forceinline__ void apply_to_others(PanelRows<T> p, int c, const T* w) {
  const int next = c + 1;
  for (int j = p.warp; j < p.q.n; j += p.warps) {
    T sum{};
    if (j > next || (j == next && next == p.reflectors)) {
      const T wj = w[j];
      for (int i = p.lane; i < p.rows; i += 32) {
        const T updated = p.a[i + j * p.ld] - p.v[i] * wj;
        p.a[i + j * p.ld] = updated;
        sum = sum + conjugate(p.x[i]) * updated;
      }
    } else if (next < p.reflectors) {
      for (int i = p.lane; i < p.rows; i += 32) sum = sum + conjugate(p.x[i]) * p.a[i + j * p.ld];
    }
    if (next < p.reflectors) publish_sum(p, next, j, sum);
  }
}

// Column by column.
template <class T>
__device__ __noinline__ void reflect_columns(PanelRows<T> p) {
  __shared__ T sums[qr_columns], row[qr_columns], w[qr_columns];
  const PanelQr& q = p.q;
  start_sums(p);
  for (int c = 0; c < p.reflectors; ++c) {
    publish_row(p, c);
    p.barrier();
    gather_sums(p, c, sums, row);
    const PanelReflector<T> h = make_panel_reflector(row[c], real_part(sums[c]));
    for (int j = threadIdx.x; j < q.n; j += blockDim.x) {
      // After c: tau^H v^H A. Before c: V^H v.
      w[j] = j > c ? conjugate(h.tau) * (row[j] + conjugate(h.scale) * sums[j])
                   : conjugate(row[j]) + conjugate(sums[j]) * h.scale;
    }
    __syncthreads();
    if (blockIdx.x == gridDim.x - 1) extend_t(p, c, h.tau, w);
    apply_to_next(p, c, h, w);
    apply_to_others(p, c, w);
  }
}

template <class T>
__device__ void geqrt(const PanelQr& q) {
  extern __shared__ __align__(16) unsigned char dynamic[];
  const int first = static_cast<int>(blockIdx.x) * q.rows;
  T* const v = reinterpret_cast<T*>(dynamic);
  T* const x = v + q.rows;
  T* const global = static_cast<T*>(q.a) + first;
  unsigned rounds = 0;
  const PanelRows<T> p{q,
                       static_cast<int>(threadIdx.x) / 32,
                       static_cast<int>(threadIdx.x) % 32,
                       static_cast<int>(blockDim.x) / 32,
                       static_cast<int>(gridDim.x),
                       first,
                       min(q.rows, q.m - first),
                       min(q.m, q.n),
                       v,
                       x,
                       global,
                       q.in_shared ? x + q.rows : global,
                       q.in_shared ? panel_pitch(q.rows) : q.ld,
                       &rounds};
  bool low = q.in_shared && load_rows(p);
  bool done = false;
  if (q.passes > 0) {
    done = cholesky_qr(p, 2 * q.rows + q.n * panel_pitch(q.rows), low);
    if (!done) {
      p.barrier();  // all blocks have read what is shared
      load_rows(p);
    }
  }
  if (!done) reflect_columns(p);
  if (q.in_shared) store_rows(p);
}

}  // namespace jaxmg
