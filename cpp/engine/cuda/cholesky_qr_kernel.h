// QR factorisation of a tall panel by CholeskyQR, repeated until Q is orthonormal, and reconstruction of Householder
// vectors: five barriers of all thread blocks for ordinary panels, where reflectors take one for each column.
//
//   G = Q^H Q + s I = U^H U,  Q = Q U^-1,  R = U R           repeated (Yamamoto, Nakatsukasa, Yanagisawa and Fukaya,
//                                                            Roundoff error analysis of the CholeskyQR2 algorithm,
//                                                            ETNA 44, 2015; the shift s: Fukaya, Kannan, Nakatsukasa,
//                                                            Yamamoto and Yanagisawa, Shifted Cholesky QR, SISC 42,
//                                                            2020)
//   Q - [S; 0] = V W,  T = -W S V_1^-H,  R = S R             (Ballard, Demmel, Grigori, Jacquelin, Nguyen and
//                                                            Solomonik, Reconstructing Householder vectors from TSQR,
//                                                            IPDPS 2014), with S = +-1 such that |w_jj| >= 1
//
// A pass is the last one if G was near I before it: then Q is orthonormal to rounding errors. That Cholesky succeeds
// proves nothing. The shift is grown from 2 n u until no pivot is below n u, and with a shift Q receives noise of the
// size of rounding errors, without which the exact zeros of a singular panel would stay.
//
// Where G is so near I that the square of the distance is below rounding errors, U = I + N and U^-1 = I - N for the
// upper triangle N with half the diagonal of G - I: the last pass of ordinary panels consists of products.
//
// Every thread block keeps some rows in shared memory, and forms all triangular matrices by itself: all take the same
// decisions from the same numbers.
//
// For the kernel compiler only.
#pragma once

#include "device_scalar.h"
#include "engine/noise.h"
#include "engine/portable.h"
#include "kernel_abi.h"
#include "panel_rows.h"
#include "potrf_kernel.h"
#include "tile_product.h"

namespace jaxmg {

__device__ inline int half_exponent(float x) { return ilogbf(x) >> 1; }
__device__ inline int half_exponent(double x) { return ilogb(x) >> 1; }
__device__ inline float power_of_two(float, int exponent) { return ldexpf(1.0f, exponent); }
__device__ inline double power_of_two(double, int exponent) { return ldexp(1.0, exponent); }

// A uniform number in [-1, 1) that is a function of the indices.
template <class Real>
__device__ inline Real uniform_noise(int i, int j, int part) {
  const unsigned long long word = scrambled(scrambled(2ULL * i + part) + j);
  return static_cast<Real>(static_cast<long long>(word >> 41) - (1LL << 22)) / static_cast<Real>(1 << 22);
}

// Two consecutive numbers in shared memory, read at once.
template <class T>
struct alignas(sizeof(T) == 16 ? 16 : 2 * sizeof(T)) PairOfNumbers {
  T first, second;
};

// A reciprocal without the cases of division: |x| lies between 1 and 4.
__device__ inline double near_reciprocal(double x) {
  double r;
  asm("rcp.approx.ftz.f64 %0, %1;" : "=d"(r) : "d"(x));
  r = fma(r, fma(-x, r, 1.0), r);
  return fma(r, fma(-x, r, 1.0), r);
}
__device__ inline float near_reciprocal(float x) { return 1 / x; }
template <class R>
__device__ inline DeviceComplex<R> near_reciprocal(DeviceComplex<R> x) {
  return quotient(DeviceComplex<R>{1, 0}, x);
}

// The arrays of a thread block are offsets in its dynamic shared memory: by pointers in a structure the compiler would
// lose which memory they point to, and read them again after every store.
template <class T>
struct CholeskyQr {
  using Real = DeviceReal<T>;
  static constexpr int tile = cholesky_width<sizeof(T)>, most = gram_columns<sizeof(T)>, warps = qr_threads / 32;

  int m, n, width, pitch, ld;
  int first, rows;                          // of this block, in the panel
  int in_a, in_triangle, in_r, in_scratch;  // offsets
  int tiles;                                // 8 x 8 tiles of the upper triangle of G
  T *gram, *shared_w, *partial;  // in global memory: G; W and the reciprocals of its diagonal; the blocks' parts of G
  T* t;
  long long ldt;
  unsigned *arrived, *rounds;

  __device__ __forceinline__ static int thread() { return static_cast<int>(threadIdx.x); }
  __device__ __forceinline__ static int warp() { return static_cast<int>(threadIdx.x) / 32; }
  __device__ __forceinline__ static int lane() { return static_cast<int>(threadIdx.x) % 32; }
  __device__ __forceinline__ static int blocks() { return static_cast<int>(gridDim.x); }
  __device__ __forceinline__ long long elements() const { return 64LL * tiles + 32; }
  __device__ __forceinline__ void barrier() const { grid_barrier(arrived, ++*rounds); }

  __device__ __forceinline__ static T* memory() {
    extern __shared__ __align__(16) unsigned char dynamic[];
    return reinterpret_cast<T*>(dynamic);
  }
  // This block's rows of the panel.
  __device__ __forceinline__ T& a(int i, int j) const { return memory()[in_a + i + j * ld]; }
  // Element (k, j) of an upper triangle U or W is conj(lower(j, k)), j >= k.
  __device__ __forceinline__ T& lower(int j, int k) const { return memory()[in_triangle + j + k * pitch]; }
  // G above its diagonal, in the same square.
  __device__ __forceinline__ T& upper(int i, int j) const { return memory()[in_triangle + i + j * pitch]; }
  __device__ __forceinline__ T& r(int i, int j) const { return memory()[in_r + i + j * pitch]; }
  __device__ __forceinline__ T& scratch(int i) const { return memory()[in_scratch + i]; }
  // Of the diagonal of U or W.
  __device__ __forceinline__ static T& reciprocal(int j) {
    __shared__ T numbers[most];
    return numbers[j];
  }
  // The diagonal of G; powers of two that bring the columns to norms near 1, and their reciprocals; S.
  template <int which>
  __device__ __forceinline__ static Real& real_number(int j) {
    __shared__ Real numbers[most];
    return numbers[j];
  }
  __device__ __forceinline__ static Real& diagonal(int j) { return real_number<0>(j); }
  __device__ __forceinline__ static Real& scale(int j) { return real_number<1>(j); }
  __device__ __forceinline__ static Real& unscale(int j) { return real_number<2>(j); }
  __device__ __forceinline__ static Real& sign(int j) { return real_number<3>(j); }

  // Number t of the tiles of the upper triangle, by columns.
  __device__ __forceinline__ static void locate(int t, int& row, int& column) {
    column = 0;
    while ((column + 1) * (column + 2) / 2 <= t) ++column;
    row = t - column * (column + 1) / 2;
  }

  // Solves x U = b for one row, in place: element j is at offset row + j stride, begin <= j < n, with zeros before
  // `begin`. The triangle is at offset `at`; it is a unit one unless reciprocals are given, from number `diagonal_at`
  // on.
  __device__ __noinline__ static void solve_row(int begin, int n, int at, int pitch, int diagonal_at, int row,
                                                int stride) {
    using Pair = PairOfNumbers<T>;
    T* const own = memory() + row;
    for (int first = 0; first < n; first += tile) {
      T x[tile];
#pragma unroll
      for (int j = 0; j < tile; ++j) {
        x[j] = first + j >= begin && first + j < n ? own[(first + j) * stride] : T{};
      }
#pragma unroll 2
      for (int k = begin; k < first; ++k) {
        const T known = own[k * stride];
        const Pair* const column = reinterpret_cast<const Pair*>(memory() + at + first + k * pitch);
#pragma unroll
        for (int j = 0; j < tile; j += 2) {
          const Pair u = column[j / 2];
          x[j] = x[j] - known * conjugate(u.first);
          x[j + 1] = x[j + 1] - known * conjugate(u.second);
        }
      }
#pragma unroll
      for (int k = 0; k < tile; ++k) {
        if (diagonal_at >= 0) x[k] = x[k] * reciprocal(diagonal_at + first + k);
        const Pair* const column = reinterpret_cast<const Pair*>(memory() + at + first + (first + k) * pitch);
#pragma unroll
        for (int j = k / 2 * 2; j < tile; j += 2) {
          const Pair u = column[j / 2];
          if (j > k) x[j] = x[j] - x[k] * conjugate(u.first);
          if (j + 1 > k) x[j + 1] = x[j + 1] - x[k] * conjugate(u.second);
        }
      }
      asm volatile("" : "+r"(stride));  // addresses are computed again: there are too many to be kept
#pragma unroll
      for (int j = 0; j < tile; ++j) {
        if (first + j >= begin && first + j < n) own[(first + j) * stride] = x[j];
      }
    }
  }

  // Forms G of all rows, in the upper triangle and `diagonal`. Returns the number of blocks that have elements other
  // than zero below the panel's diagonal.
  __device__ __noinline__ static Real form_gram(CholeskyQr qr, bool low) { return qr.gram_of_rows(low); }
  __device__ __forceinline__ Real gram_of_rows(bool low) const {
    T* const own = partial + blockIdx.x * elements();
    const int used = (rows + 3) / 4 * 4;  // zeros beyond the last row
    for (int number = warp(); number < tiles; number += warps) {
      int row, column;
      locate(number, row, column);
      T sum[2] = {}, odd[2] = {};
      const auto left = [&](int i, int k) { return conjugate(a(k, min(8 * row + i, n - 1))); };
      const auto right = [&](int k, int j) { return a(k, min(8 * column + j, n - 1)); };
      const int half = used / 8 * 4;
      multiply_tiles<T>(
          sum, odd, half, left, right, [&](int i, int k) { return left(i, half + k); },
          [&](int k, int j) { return right(half + k, j); });
      if (2 * half < used) {
        multiply_tile<T>(
            sum, 4, [&](int i, int k) { return left(i, 2 * half + k); },
            [&](int k, int j) { return right(2 * half + k, j); });
      }
      own[64 * number + 2 * lane()] = sum[0] + odd[0];
      own[64 * number + 2 * lane() + 1] = sum[1] + odd[1];
    }
    if (warp() == 0) own[64 * tiles + lane()] = scalar<T>(low ? 1 : 0, 0);
    barrier();
    // A block adds up 32 numbers at a time, a warp the numbers of every 16th block.
    for (int piece = blockIdx.x; piece < 2 * tiles + 1; piece += blocks()) {
      T sum{};
#pragma unroll 4
      for (int block = warp(); block < blocks(); block += warps) {
        sum = sum + load_fresh(partial + block * elements() + 32 * piece + lane());
      }
      scratch(thread()) = sum;
      __syncthreads();
      if (warp() == 0) {
#pragma unroll
        for (int w = 1; w < warps; ++w) sum = sum + scratch(32 * w + lane());
        gram[32 * piece + lane()] = sum;
      }
      __syncthreads();
    }
    barrier();
    const Real lows = real_part(load_fresh(gram + 64 * tiles));
    for (int number = warp(); number < tiles; number += warps) {
      int row, column;
      locate(number, row, column);
      const T* const from = gram + 64 * number + 2 * lane();
      const T values[2] = {load_fresh(from), load_fresh(from + 1)};
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const int i = 8 * row + lane() / 4, j = 8 * column + 2 * (lane() % 4) + c;
        if (j < n && i < j) upper(i, j) = values[c];
        if (j < n && i == j) diagonal(j) = real_part(values[c]);
      }
    }
    // Columns of the identity beyond the last one.
    for (int j = n + warp(); j < width; j += warps) {
      for (int i = lane(); i < j; i += 32) upper(i, j) = T{};
      if (lane() == 0) diagonal(j) = 1;
    }
    __syncthreads();
    return lows;
  }

  // Whether all columns have norms whose squares neither over- nor underflow. Chooses `scale`.
  __device__ __forceinline__ bool scale_columns() const {
    const Real least = sizeof(Real) == 8 ? Real(0x1p-960) : Real(0x1p-100);
    bool outside = false;
    for (int j = thread(); j < width; j += qr_threads) {
      const Real square = diagonal(j);
      outside = !(square >= least && square <= 1 / least);
      const int exponent = outside ? 0 : half_exponent(square);
      scale(j) = power_of_two(Real(0), -exponent);
      unscale(j) = power_of_two(Real(0), exponent);
    }
    return __syncthreads_or(outside) == 0;
  }

  // ||G - I||_F^2, the same in all threads of all blocks. Columns are not scaled.
  __device__ __forceinline__ Real distance_from_identity() const {
    __shared__ Real sums[warps];
    Real sum = 0;
    for (int j = warp(); j < n; j += warps) {
      for (int i = lane(); i < j; i += 32) sum += 2 * squared_modulus(upper(i, j));
      if (lane() == 0) sum += (diagonal(j) - 1) * (diagonal(j) - 1);
    }
    sum = warp_sum(sum);
    if (lane() == 0) sums[warp()] = sum;
    for (int j = thread(); j < width; j += qr_threads) scale(j) = 1;
    __syncthreads();
    Real total = 0;
    for (int w = 0; w < warps; ++w) total += sums[w];
    return total;
  }

  // U of the scaled and shifted G. Returns false where a pivot is too small.
  __device__ __noinline__ static bool factor(CholeskyQr qr, Real shift) { return qr.factor_gram(shift); }
  __device__ __forceinline__ bool factor_gram(Real shift) const {
    for (int k = warp(); k < width; k += warps) {
      const Real of_column = scale(k);
      for (int i = k + lane(); i < width; i += 32) {
        lower(i, k) = i == k ? scalar<T>(diagonal(k) * of_column * of_column + shift, 0)
                             : scale(i) * (of_column * conjugate(upper(k, i)));
      }
    }
    __syncthreads();
    const Real least = static_cast<Real>(n) * unit_roundoff<Real>();
    for (int begin = 0; begin < width; begin += tile) {
      const int next = begin + tile;
      bool failed = false;
      if (warp() == 0) {
        T* const at = &lower(begin, begin);
        failed = factor_tile<T>(at, pitch, &scratch(0), at, pitch, tile) != 0;
        if (lane() < tile) {
          const Real root = real_part(at[lane() + lane() * pitch]);
          failed = failed || !(root * root >= least && root * root < 1 / least);
          reciprocal(begin + lane()) = scalar<T>(1 / root, 0);
        }
      }
      if (__syncthreads_or(failed) != 0) return false;
      if (next == width) break;
      if (thread() < width - next) {
        solve_row(0, tile, in_triangle + begin + begin * pitch, pitch, begin,
                  in_triangle + next + thread() + begin * pitch, pitch);
      }
      __syncthreads();
      for (int k = next + warp(); k < width; k += warps) {
        for (int i = k + lane(); i < width; i += 32) {
          T sum{};
#pragma unroll 8
          for (int q = begin; q < next; ++q) sum = sum + lower(i, q) * conjugate(lower(k, q));
          lower(i, k) = lower(i, k) - sum;
        }
      }
      __syncthreads();
    }
    return true;
  }

  // Undoes the scaling of columns in U.
  __device__ __forceinline__ void unscale_factor() const {
    for (int k = warp(); k < width; k += warps) {
      for (int j = k + lane(); j < width; j += 32) lower(j, k) = unscale(j) * lower(j, k);
      if (lane() == 0) reciprocal(k) = scale(k) * reciprocal(k);
    }
    __syncthreads();
  }

  // Element (i, j) of N, the first-order part of U, j >= i.
  __device__ __forceinline__ T first_order(int i, int j) const {
    return i < j ? upper(i, j) : i == j ? scalar<T>((diagonal(j) - 1) / 2, 0) : T{};
  }

  // R = U, R = U R, or R = R + N R.
  enum class Factor { first, next, first_order };
  __device__ __noinline__ static void multiply_r(CholeskyQr qr, Factor factor) { qr.multiply_columns_of_r(factor); }
  __device__ __forceinline__ void multiply_columns_of_r(Factor factor) const {
    // If there are enough warps that do not solve, by them.
    const int solving = factor == Factor::first_order || rows > 16 * warps ? 0 : (rows + 31) / 32;
    const int workers = warps - solving, worker = warps - 1 - warp();
    if (worker >= workers) return;
    constexpr int parts = most / 32;
    for (int j = worker; j < n; j += workers) {
      T sum[parts] = {};
#pragma unroll
      for (int part = 0; part < parts; ++part) {
        const int i = 32 * part + lane();
        if (32 * part > j) continue;
        if (factor == Factor::first) {
          if (i <= j) sum[part] = conjugate(lower(j, i));
        } else if (factor == Factor::next) {
#pragma unroll 4
          for (int k = 32 * part; k <= j; ++k) {
            if (k >= i) sum[part] = sum[part] + conjugate(lower(k, i)) * r(k, j);
          }
        } else {
          if (i <= j) sum[part] = r(i, j);
#pragma unroll 4
          for (int k = 32 * part; k <= j; ++k) sum[part] = sum[part] + first_order(i, k) * r(k, j);
        }
      }
      __syncwarp();
#pragma unroll
      for (int part = 0; part < parts; ++part) {
        const int i = 32 * part + lane();
        if (i <= j) r(i, j) = sum[part];
      }
    }
  }

  // Q = Q U^-1 in rows from `from` of this block on, with noise added where there was a shift.
  __device__ __forceinline__ void solve_panel(int from, bool noisy) const {
    for (int i = from + thread(); i < rows; i += qr_threads) {
      solve_row(0, n, in_triangle, pitch, 0, in_a + i, ld);
      if (!noisy) continue;
      const Real size = 2 * unit_roundoff<Real>() / sqrt(static_cast<Real>(m));
      for (int j = 0; j < n; ++j) {
        a(i, j) = a(i, j) +
                  scalar<T>(size * uniform_noise<Real>(first + i, j, 0), size * uniform_noise<Real>(first + i, j, 1));
      }
    }
    __syncthreads();
  }

  // Q = Q - Q N. A warp takes eight rows, and their columns from the right.
  __device__ __noinline__ static void correct(CholeskyQr qr) { qr.correct_rows(); }
  __device__ __forceinline__ void correct_rows() const {
    for (int top = 8 * warp(); top < rows; top += 8 * warps) {
      for (int begin = (n - 1) / 8 * 8; begin >= 0; begin -= 8) {
        T sum[2] = {};
        multiply_tile<T>(
            sum, begin + 8, [&](int i, int k) { return k < n ? a(top + i, k) : T{}; },
            [&](int k, int j) { return begin + j < n ? first_order(k, begin + j) : T{}; });
        __syncwarp();
        const int i = top + lane() / 4, j = begin + 2 * (lane() % 4);
        if (j < n) a(i, j) = a(i, j) - sum[0];
        if (j + 1 < n) a(i, j + 1) = a(i, j + 1) - sum[1];
        __syncwarp();
      }
    }
    __syncthreads();
  }

  // A = Q R: Q in this block's rows, R in the first block. Returns false where reflectors must be formed otherwise:
  // where all elements below the diagonal are zero (which reflectors keep exactly), squares over- or underflow, or Q
  // did not become orthonormal.
  __device__ __forceinline__ bool orthonormalise(bool low, int passes) const {
    for (int pass = 0; pass < passes; ++pass) {
      const Real lows = form_gram(*this, low);
      bool last = false;
      if (pass == 0) {
        if (!(lows > 0) || !scale_columns()) return false;
      } else {
        const Real distance = distance_from_identity();
        if (distance <= unit_roundoff<Real>() / 16) {
          if (blockIdx.x == 0) multiply_r(*this, Factor::first_order);
          correct(*this);
          return true;
        }
        last = distance <= Real(0.01);
      }
      Real shift = 0;
      while (!factor(*this, shift)) {
        shift = shift == 0 ? 2 * static_cast<Real>(n) * unit_roundoff<Real>() : 16 * shift;
        if (!(shift < 1)) return false;
      }
      if (pass == 0) unscale_factor();
      if (blockIdx.x == 0) multiply_r(*this, pass == 0 ? Factor::first : Factor::next);
      solve_panel(0, shift > 0);
      if (last) return true;
    }
    return false;
  }

  // Factors a tile of Q_1 - S by a warp. Lanes hold rows.
  __device__ __noinline__ static void eliminate_tile(CholeskyQr qr, int begin) { qr.eliminate_square(begin); }
  __device__ __forceinline__ void eliminate_square(int begin) const {
    const int i = begin + lane();
    T x[tile], own{};
    Real own_sign = 1;
#pragma unroll
    for (int j = 0; j < tile; ++j) x[j] = lane() < tile && i < n && begin + j < n ? a(i, begin + j) : T{};
#pragma unroll
    for (int k = 0; k < tile; ++k) {
      // Row k, alternately to two places.
      const int place = in_scratch + k % 2 * tile;
      if (lane() == k) {
#pragma unroll
        for (int j = k; j < tile; ++j) memory()[place + j] = x[j];
      }
      __syncwarp();
      // The last reflector of a square real panel is I, as LAPACK's: its pivot is +-1 already.
      const bool identity = !DeviceScalar<T>::complex && begin + k == m - 1;
      T pivot = memory()[place + k];
      const Real s = (real_part(pivot) >= 0) != identity ? Real(-1) : Real(1);
      pivot = identity ? T{} : pivot - scalar<T>(s, 0);
      const T inverse = identity ? T{} : near_reciprocal(pivot);
      const T l = lane() > k ? x[k] * inverse : T{};
      if (lane() == k) {
        x[k] = pivot;
        own = inverse;
        own_sign = s;
      }
      if (lane() > k) x[k] = l;
#pragma unroll
      for (int j = k + 1; j < tile; ++j) x[j] = x[j] - l * memory()[place + j];
    }
    if (lane() >= tile) return;
#pragma unroll
    for (int k = 0; k < tile; ++k) {
      if (k >= lane()) lower(begin + k, i) = conjugate(x[k]);
      if (k < lane() && i < n && begin + k < n) a(i, begin + k) = x[k];
    }
    reciprocal(i) = own;
    sign(i) = own_sign;
  }

  // Q_1 - S = V_1 W in the first block: V_1 in place, W in the triangle.
  __device__ __forceinline__ void eliminate() const {
    for (int begin = 0; begin < width; begin += tile) {
      const int next = begin + tile;
      if (warp() == 0) eliminate_tile(*this, begin);
      __syncthreads();
      if (next >= n) continue;
      // To the right, a thread for each column, and below.
      for (int j = next + lane(); warp() == 0 && j < width; j += 32) {
        for (int k = 0; k < tile; ++k) lower(j, begin + k) = j < n ? conjugate(a(begin + k, j)) : T{};
        solve_row(0, tile, in_a + begin + begin * ld, ld, -1, in_triangle + j + begin * pitch, pitch);
      }
      for (int j = next + lane(); warp() == 1 && j < n; j += 32) {
        solve_row(0, tile, in_triangle + begin + begin * pitch, pitch, begin, in_a + j + begin * ld, ld);
      }
      __syncthreads();
      for (int c = next + warp(); c < n; c += warps) {
        for (int i = next + lane(); i < n; i += 32) {
          T sum{};
#pragma unroll 8
          for (int q = begin; q < next; ++q) sum = sum + a(i, q) * conjugate(lower(c, q));
          a(i, c) = a(i, c) - sum;
        }
      }
      __syncthreads();
    }
  }

  // V and T, and R above V.
  __device__ __noinline__ static void reconstruct(CholeskyQr qr) { qr.reconstruct_reflectors(); }
  __device__ __forceinline__ void reconstruct_reflectors() const {
    if (blockIdx.x == 0) {
      eliminate();
      for (int k = warp(); k < width && blocks() > 1; k += warps) {
        for (int j = k + lane(); j < width; j += 32) shared_w[j + k * width] = lower(j, k);
        if (lane() == 0) shared_w[width * width + k] = reciprocal(k);
      }
    }
    barrier();
    if (blockIdx.x != 0) {
#pragma unroll 4
      for (int k = warp(); k < width; k += warps) {
        for (int j = k + lane(); j < width; j += 32) lower(j, k) = load_fresh(shared_w + j + k * width);
        if (lane() == 0) reciprocal(k) = load_fresh(shared_w + width * width + k);
      }
      __syncthreads();
      solve_panel(0, false);
      return;
    }
    // T = -W S V_1^-H above V_1, a thread for each row.
    for (int j = warp(); j < n; j += warps) {
      for (int i = lane(); i <= j; i += 32) a(i, j) = -(sign(j) * conjugate(lower(j, i)));
    }
    __syncthreads();
    for (int i = qr_threads - 1 - thread(); i < n; i += qr_threads) solve_row(i, n, in_a, ld, -1, in_a + i, ld);
    solve_panel(n, false);
    for (int j = warp(); j < n; j += warps) {
      for (int i = lane(); i < n; i += 32) {
        t[i + j * ldt] = i <= j ? a(i, j) : T{};
        if (i <= j) a(i, j) = sign(i) * r(i, j);
      }
    }
  }
};

// Factors a panel whose rows are in shared memory. Returns false where it could not; the rows are then lost. The arrays
// beside the panel begin at `offset`.
template <class T>
__device__ __forceinline__ bool cholesky_qr(const PanelRows<T>& p, int offset, bool low) {
  const int n = p.q.n, eighths = (n + 7) / 8;
  CholeskyQr<T> qr{};
  qr.m = p.q.m;
  qr.n = n;
  qr.width = gram_width<sizeof(T)>(n);
  qr.pitch = gram_pitch(qr.width);
  qr.ld = static_cast<int>(p.ld);
  qr.first = p.first;
  qr.rows = p.rows;
  qr.in_a = 2 * p.q.rows;
  qr.in_triangle = offset;
  qr.in_r = offset + qr.width * qr.pitch;
  qr.in_scratch = qr.in_r + qr.width * qr.pitch;
  qr.tiles = eighths * (eighths + 1) / 2;
  qr.gram = static_cast<T*>(p.q.scratch);
  qr.shared_w = qr.gram + qr.elements();
  qr.partial = qr.shared_w + qr.width * (qr.width + 1);
  qr.t = static_cast<T*>(p.q.t);
  qr.ldt = p.q.ldt;
  qr.arrived = p.q.arrived;
  qr.rounds = p.rounds;
  if (!qr.orthonormalise(low, p.q.passes)) return false;
  CholeskyQr<T>::reconstruct(qr);
  return true;
}

}  // namespace jaxmg
