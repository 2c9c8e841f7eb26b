// Bulge chasing from band to tridiagonal form on a GPU: one cooperative launch, in which every thread block chases the
// bulges of some sweeps.
//
// Sweeps are pipelined down the band, each a little more than two steps behind its predecessor: about n / (3 b) of them
// run at once. A block keeps the operands of a step in registers:
//
//   | B  D    |     rows I(t) of the step:      B  columns I(t-1), the reflector from the left
//   |    C    |     rows I(t+1):                D  columns I(t), from both sides;  C  from the right
//
// C of one step is B of the next one. The warps of a block have roles. Most hold columns of these blocks and apply
// reflectors. The chain warp is the critical path: it makes the next reflector as soon as the first column of C is
// known. The publisher publishes the number of finished steps for the next sweep, and the poller waits for the previous
// sweep, without delaying the other warps. (Compare Haidar, Ltaief and Dongarra, Parallel reduction to condensed forms
// for symmetric eigenvalue problems using aggregated fine-grained and memory-aware kernels, SC'11.)
//
// Beyond the end of the matrix the band holds zeros, and therefore no step checks for the end. All sums are formed in a
// fixed order: the result depends neither on the number of blocks nor on their timing.
//
// A block waits for sweeps of other blocks, and therefore all blocks must run at once, which a cooperative launch
// ensures. If a sweep nevertheless makes no step for `stall_limit`, the poller sets info and all blocks stop waiting:
// the kernel ends.
//
// For the kernel compiler only.
#pragma once

#include "device_flags.h"
#include "device_scalar.h"
#include "engine/diamonds.h"
#include "kernel_abi.h"

namespace jaxmg {

constexpr int column_warps = (chase_threads / 32) - 3;  // all warps except the chain, the publisher and the poller

template <class T, int b>
struct ChaseShared {
  T u[2][b];                           // the reflectors of this and the next step
  T partial[column_warps][2 * b + 4];  // each warp's share of C u and of the lower triangle of D times u
  T above[b];                          // the contribution of the strict upper triangle of D to D u
  T sums[2 * b];                       // C u, then D u
  T first[b];                          // the first column of C
  T beta[2];
};

__device__ inline void named_barrier(int name, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(name), "r"(threads) : "memory");
}
__device__ inline unsigned long long nanoseconds() {
  unsigned long long now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
}

// Stores to the L2 cache, for load_fresh of other blocks; complex numbers in one access.
__device__ inline void store_fresh(float* x, float value) { __stcg(x, value); }
__device__ inline void store_fresh(double* x, double value) { __stcg(x, value); }
__device__ inline void store_fresh(DeviceComplex<float>* x, DeviceComplex<float> value) {
  __stcg(reinterpret_cast<float2*>(x), make_float2(value.re, value.im));
}
__device__ inline void store_fresh(DeviceComplex<double>* x, DeviceComplex<double> value) {
  __stcg(reinterpret_cast<double2*>(x), make_double2(value.re, value.im));
}
// Streaming stores, for data that is not read soon.
__device__ inline void store_streaming(float* x, float value) { __stcs(x, value); }
__device__ inline void store_streaming(double* x, double value) { __stcs(x, value); }
__device__ inline void store_streaming(DeviceComplex<float>* x, DeviceComplex<float> value) {
  __stcs(reinterpret_cast<float2*>(x), make_float2(value.re, value.im));
}
__device__ inline void store_streaming(DeviceComplex<double>* x, DeviceComplex<double> value) {
  __stcs(reinterpret_cast<double2*>(x), make_double2(value.re, value.im));
}

// sum = sum + x y, and sum + x^* y: every product is fused into a sum.
template <class R>
__device__ inline void add_product(R& sum, R x, R y) {
  sum += x * y;
}
template <class R>
__device__ inline void add_product(DeviceComplex<R>& sum, DeviceComplex<R> x, DeviceComplex<R> y) {
  sum.re += x.re * y.re;
  sum.re -= x.im * y.im;
  sum.im += x.re * y.im;
  sum.im += x.im * y.re;
}
template <class R>
__device__ inline void add_conjugate_product(R& sum, R x, R y) {
  sum += x * y;
}
template <class R>
__device__ inline void add_conjugate_product(DeviceComplex<R>& sum, DeviceComplex<R> x, DeviceComplex<R> y) {
  sum.re += x.re * y.re;
  sum.re += x.im * y.im;
  sum.im += x.re * y.im;
  sum.im -= x.im * y.re;
}

__device__ inline float root(float x) { return sqrtf(x); }
__device__ inline double root(double x) { return sqrt(x); }
__device__ inline float modulus(float re, float im) { return hypotf(re, im); }
__device__ inline double modulus(double re, double im) { return hypot(re, im); }
__device__ inline float absolute(float x) { return fabsf(x); }
__device__ inline double absolute(double x) { return fabs(x); }
__device__ inline float larger(float x, float y) { return fmaxf(x, y); }
__device__ inline double larger(double x, double y) { return fmax(x, y); }
__device__ inline int exponent_of(float x) { return ilogbf(x); }
__device__ inline int exponent_of(double x) { return ilogb(x); }
__device__ inline float times_power(float x, int power) { return scalbnf(x, power); }
__device__ inline double times_power(double x, int power) { return scalbn(x, power); }
template <class R>
__device__ inline DeviceComplex<R> times_power(DeviceComplex<R> x, int power) {
  return {times_power(x.re, power), times_power(x.im, power)};
}

// Sums `count` values over a warp: lane l gets the sum of value l / (32 / count).
template <int count, class T>
__device__ inline T distributed_sums(T (&x)[count]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int half = count / 2; half >= 1; half /= 2) {
    const int mask = 32 * half / count;
    const bool upper = (lane & mask) != 0;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const T sent = upper ? x[i] : x[i + half], kept = upper ? x[i + half] : x[i];
      x[i] = kept + shuffle_xor(sent, mask);
    }
  }
  T sum = x[0];
#pragma unroll
  for (int mask = 16 / count; mask >= 1; mask /= 2) sum = sum + shuffle_xor(sum, mask);
  return sum;
}

// The bound above which the sum of squares of a vector has all its digits, (sqrt(safmin) / eps)^2; its reciprocal is
// the bound below which it does not overflow.
template <class R>
__device__ constexpr R full_precision_squares() {
  return sizeof(R) == 8 ? R(4.5e-277) : R(8.3e-25);
}

// A vector over the lanes of a warp, x[r] its element lane + 32 r, becomes the reflector u; returns beta. Like
// reflector() of engine/host/chase.h, except that x is scaled only if its squares require it.
template <int count, class T>
__device__ T warp_reflector(T (&x)[count]) {
  using R = DeviceReal<T>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  R first_square{}, rest{};
  const auto square_sums = [&] {
    first_square = squared_modulus(from_lane(x[0], 0));
    rest = 0;
#pragma unroll
    for (int r = 0; r < count; ++r) {
      if (lane + r > 0) rest += squared_modulus(x[r]);
    }
    rest = warp_sum(rest);
  };
  square_sums();
  int power = 0;
  if (!(first_square + rest > full_precision_squares<R>() && first_square + rest < 1 / full_precision_squares<R>())) {
    R largest = 0;
#pragma unroll
    for (int r = 0; r < count; ++r) {
      largest = larger(largest, larger(absolute(real_part(x[r])), absolute(imaginary_part(x[r]))));
    }
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) largest = larger(largest, shuffle_xor(largest, mask));
    // Neither zero nor infinite.
    if (largest > 0 && !(largest - largest != 0)) power = exponent_of(largest);
#pragma unroll
    for (int r = 0; r < count; ++r) x[r] = times_power(x[r], -power);
    square_sums();
  }
  const T alpha = from_lane(x[0], 0);
  if (rest == 0) {
#pragma unroll
    for (int r = 0; r < count; ++r) x[r] = T{};
    return times_power(alpha, power);
  }
  const R square = first_square + rest, norm = root(square);
  R first{};
  T beta{};
  if constexpr (DeviceScalar<T>::complex) {
    // An alpha whose square underflows is below eps times the norm.
    const bool negligible = first_square < (sizeof(R) == 8 ? R(2.3e-308) : R(1.2e-38));
    first = negligible ? R(0) : root(first_square);
    beta = negligible ? T{-norm, R(0)} : (-norm / first) * alpha;
  } else {
    first = absolute(alpha);
    beta = alpha >= 0 ? -norm : norm;
  }
  const R factor = reciprocal_root(square + first * norm);
  if (lane == 0) x[0] = alpha - beta;
#pragma unroll
  for (int r = 0; r < count; ++r) x[r] = factor * x[r];
  return times_power(beta, power);
}

// Named barriers: all warps begin a step; the column warps have written their shares of the sums; sums are complete and
// C of the next step may be read (all warps but the publisher).
constexpr int step_barrier = 1, shares_barrier = 2, complete_barrier = 3;
constexpr int column_threads = column_warps * 32, complete_threads = chase_threads - 32;

__device__ __forceinline__ void begin_step() { named_barrier(step_barrier, chase_threads); }
__device__ __forceinline__ void await_sums() { named_barrier(complete_barrier, complete_threads); }

// One sweep of the reduction, as seen by a thread of its block. Functions take it by value, which keeps its members in
// registers.
template <class T, int b>
struct Sweep {
  // Columns of B, C and D held by a column warp; elements of a column held by a lane; leading dimension of the band:
  // element (i, j) is band[j ld + i].
  static constexpr int columns = b / column_warps, per_lane = b / 32, ld = 2 * b - 1;
  // Threads that add up one sum, and the lanes of a warp that share a sum of distributed_sums.
  static constexpr int adders = column_threads / (2 * b), sharers = 32 / columns;
  static constexpr int finished = 1 << 30;
  static constexpr unsigned long long stall_limit = 10'000'000'000;
  using Columns = T[per_lane][columns];  // of a column warp, in registers

  const Chase& a;
  ChaseShared<T, b>& shared;
  int s, steps, warp, lane;
  T* band;

  __device__ __forceinline__ long long row(int t) const { return s + 1 + static_cast<long long>(t) * b; }
};

// Waits until the previous sweep has finished its step t + 2, after which the data of step t + 1 may be read during
// step t.
template <class T, int b>
__device__ __forceinline__ void poll(Sweep<T, b> w, int t) {
  int* const progress = w.a.progress;
  int* const stalled = progress + w.a.n - 1;  // no sweep has this number
  if (w.lane == 0 && w.s > 0 && t + 1 < w.steps && load_acquire(progress + w.s - 1) < t + 3) {
    int seen = -1;
    unsigned long long since = 0;
    for (int spins = 0;; ++spins) {
      const int done = load_acquire(progress + w.s - 1);
      if (done >= t + 3 || load_acquire(stalled) != 0) break;
      if (done != seen) {
        seen = done;
        since = nanoseconds();
      } else if (spins % 256 == 255 && nanoseconds() - since > w.stall_limit) {
        atomicMin(w.a.info, w.a.n + 1);
        store_release(stalled, 1);
      }
    }
  }
  __syncwarp();
}

template <class T, int b>
__device__ __forceinline__ void run_poller(Sweep<T, b> w) {
  poll(w, -1);
  begin_step();
  for (int t = 0; t < w.steps; ++t) {
    begin_step();
    poll(w, t);
    await_sums();
  }
  begin_step();
}

// Publishes the number of finished steps.
template <class T, int b>
__device__ __forceinline__ void run_publisher(Sweep<T, b> w) {
  int* const progress = w.a.progress + w.s;
  begin_step();
  for (int t = 0; t < w.steps; ++t) {
    begin_step();
    if (t > 0 && w.lane == 0) store_release(progress, t);
    __syncwarp();
  }
  begin_step();
  if (w.lane == 0) store_release(progress, w.finished);
  __syncwarp();
}

// Makes the reflector of step t from x; stores it among the kept reflectors, and beta in the band.
template <class T, int b>
__device__ __forceinline__ void make_reflector(Sweep<T, b> w, T (&x)[b / 32], int t, T* beta_at, bool kept,
                                               T* first_block) {
  const T beta = warp_reflector(x);
  const DiamondGrid grid{w.a.n, b};
  T* const place = first_block + grid.place(w.s / b, t) * w.a.sweeps * b;
#pragma unroll
  for (int r = 0; r < w.per_lane; ++r) {
    w.shared.u[t & 1][w.lane + 32 * r] = x[r];
    if (kept) store_streaming(place + w.lane + 32 * r, x[r]);
  }
  if (w.lane == 0) {
    w.shared.beta[t & 1] = beta;
    store_fresh(beta_at, beta);
  }
}

// The chain: makes each reflector from the first column of C, after applying the previous reflector to it.
template <class T, int b>
__device__ __forceinline__ void run_chain(Sweep<T, b> w) {
  const int column = w.s % b - w.a.first;
  const bool kept = w.a.reflectors != nullptr && column >= 0 && column < w.a.sweeps;
  T* const first_block = static_cast<T*>(w.a.reflectors) + column * b;  // this sweep's column of the first block
  T x[w.per_lane];
  begin_step();
  T* const top = w.band + static_cast<long long>(w.s) * w.ld + w.s + 1;
#pragma unroll
  for (int r = 0; r < w.per_lane; ++r) x[r] = load_fresh(top + w.lane + 32 * r);
  make_reflector(w, x, 0, top, kept, first_block);
  for (int t = 0; t < w.steps; ++t) {
    begin_step();
    await_sums();
    if (t + 1 < w.steps) {
      const long long row = w.row(t);
      const T u0 = conjugate(w.shared.u[t & 1][0]);
#pragma unroll
      for (int r = 0; r < w.per_lane; ++r) {
        x[r] = w.shared.first[w.lane + 32 * r];
        add_product(x[r], -w.shared.sums[w.lane + 32 * r], u0);
      }
      make_reflector(w, x, t + 1, w.band + row * w.ld + row + b, kept, first_block);
    }
  }
  begin_step();
}

// This warp's shares of C u and of the lower triangle of D times u.
template <class T, int b>
__device__ __forceinline__ void write_shares(Sweep<T, b> w, const T* u, const typename Sweep<T, b>::Columns& c,
                                             const typename Sweep<T, b>::Columns& d, int first) {
#pragma unroll
  for (int r = 0; r < w.per_lane; ++r) {
    T cu{}, du{};
#pragma unroll
    for (int k = 0; k < w.columns; ++k) {
      add_product(cu, c[r][k], u[first + k]);
      add_product(du, d[r][k], u[first + k]);
    }
    w.shared.partial[w.warp][w.lane + 32 * r] = cu;
    w.shared.partial[w.warp][b + w.lane + 32 * r] = du;
    if (w.warp == 0) w.shared.first[w.lane + 32 * r] = c[r][0];
  }
}

// B = B - u (u^H B), back to the band.
template <class T, int b>
__device__ __forceinline__ void apply_from_left(Sweep<T, b> w, const T* u, const typename Sweep<T, b>::Columns& left,
                                                int t, T* own) {
  T products[w.columns];
#pragma unroll
  for (int c = 0; c < w.columns; ++c) {
    products[c] = T{};
#pragma unroll
    for (int r = 0; r < w.per_lane; ++r) add_conjugate_product(products[c], u[w.lane + 32 * r], left[r][c]);
  }
  const T product = distributed_sums(products);
#pragma unroll
  for (int c = 0; c < w.columns; ++c) {
    const T uc = -from_lane(product, c * w.sharers);
#pragma unroll
    for (int r = 0; r < w.per_lane; ++r) {
      T value = left[r][c];
      add_product(value, u[w.lane + 32 * r], uc);
      if (c == 0 && w.warp == 0) value = w.lane + 32 * r == 0 ? w.shared.beta[t & 1] : T{};
      store_fresh(own + (c - b) * static_cast<long long>(w.ld) + 32 * r, value);
    }
  }
}

// The share of the strict upper triangle of D in D u: its columns are conjugated rows of the lower triangle.
template <class T, int b>
__device__ __forceinline__ void write_upper_sums(Sweep<T, b> w, const T* u, const typename Sweep<T, b>::Columns& d,
                                                 int first) {
  T products[w.columns];
#pragma unroll
  for (int c = 0; c < w.columns; ++c) {
    products[c] = T{};
#pragma unroll
    for (int r = 0; r < w.per_lane; ++r) {
      if (w.lane + 32 * r > first + c) add_conjugate_product(products[c], d[r][c], u[w.lane + 32 * r]);
    }
  }
  const T product = distributed_sums(products);
  if (w.lane % w.sharers == 0) w.shared.above[first + w.lane / w.sharers] = product;
}

// C u and D u from the shares of all column warps.
template <class T, int b>
__device__ __forceinline__ void add_shares(Sweep<T, b> w) {
  constexpr int adders = Sweep<T, b>::adders;
  const int sum = static_cast<int>(threadIdx.x) / adders, part = static_cast<int>(threadIdx.x) % adders;
  T total{};
#pragma unroll
  for (int i = 0; i < column_warps / adders; ++i) total = total + w.shared.partial[i * adders + part][sum];
#pragma unroll
  for (int mask = adders / 2; mask > 0; mask /= 2) total = total + shuffle_xor(total, mask);
  if (part == 0) w.shared.sums[sum] = sum < b ? total : total + w.shared.above[sum - b];
}

// C = C - (C u) u^H;  w = D u - (u^H D u / 2) u,  D = D - u w^H - w u^H. D goes to the band, and the D of the next step
// takes its place.
template <class T, int b>
__device__ __forceinline__ void apply_from_right(Sweep<T, b> w, const T* u, typename Sweep<T, b>::Columns& right,
                                                 typename Sweep<T, b>::Columns& d, int first, T* own) {
  DeviceReal<T> half{};
#pragma unroll
  for (int r = 0; r < w.per_lane; ++r) {
    const T cu = -w.shared.sums[w.lane + 32 * r];
    T product{};
    add_conjugate_product(product, u[w.lane + 32 * r], w.shared.sums[b + w.lane + 32 * r]);
    half += real_part(product);
#pragma unroll
    for (int c = 0; c < w.columns; ++c) add_product(right[r][c], cu, conjugate(u[first + c]));
  }
  half = warp_sum(half) / 2;
  T ur[w.per_lane], wr[w.per_lane];
#pragma unroll
  for (int r = 0; r < w.per_lane; ++r) {
    ur[r] = -u[w.lane + 32 * r];
    wr[r] = half * u[w.lane + 32 * r] - w.shared.sums[b + w.lane + 32 * r];
  }
#pragma unroll
  for (int c = 0; c < w.columns; ++c) {
    const T uc = conjugate(u[first + c]), wc = conjugate(w.shared.sums[b + first + c] - half * u[first + c]);
#pragma unroll
    for (int r = 0; r < w.per_lane; ++r) {
      if (w.lane + 32 * r >= first + c) {
        T value = d[r][c];
        add_product(value, ur[r], wc);
        add_product(value, wr[r], uc);
        d[r][c] = load_fresh(own + (b + c) * static_cast<long long>(w.ld) + b + 32 * r);
        store_fresh(own + c * w.ld + 32 * r, value);
      }
    }
  }
}

// One step of a column warp. C of this step, in `right`, is B of the next one; C of that comes to `left`. u is read
// from shared memory at every use, for lack of registers.
template <class T, int b>
__device__ __forceinline__ void apply_reflector(Sweep<T, b> w, typename Sweep<T, b>::Columns& left,
                                                typename Sweep<T, b>::Columns& right, typename Sweep<T, b>::Columns& d,
                                                int first, int t) {
  const T* const u = w.shared.u[t & 1];
  const long long row = w.row(t);
  T* const own = w.band + (row + first) * w.ld + row + w.lane;  // column `first` of D
  begin_step();
  write_shares(w, u, right, d, first);
  if (t > 0) apply_from_left(w, u, left, t, own);
  write_upper_sums(w, u, d, first);
  named_barrier(shares_barrier, column_threads);
  add_shares(w);
  await_sums();
  if (t + 1 < w.steps) {
#pragma unroll
    for (int c = 0; c < w.columns; ++c) {
#pragma unroll
      for (int r = 0; r < w.per_lane; ++r) {
        left[r][c] = load_fresh(own + (b + c) * static_cast<long long>(w.ld) + 2 * b + 32 * r);
      }
    }
  }
  apply_from_right(w, u, right, d, first, own);
}

// A column warp holds columns first ... first + columns - 1 of B, C and D; of D the lower triangle, with zeros above
// it.
template <class T, int b>
__device__ __forceinline__ void run_columns(Sweep<T, b> w) {
  const int first = w.warp * w.columns;
  typename Sweep<T, b>::Columns x, y, d;
  begin_step();
  const T* const own = w.band + static_cast<long long>(w.s + 1 + first) * w.ld + w.s + 1 + w.lane;
#pragma unroll
  for (int c = 0; c < w.columns; ++c) {
#pragma unroll
    for (int r = 0; r < w.per_lane; ++r) {
      const T* const at = own + c * w.ld + 32 * r;
      y[r][c] = load_fresh(at + b);
      d[r][c] = w.lane + 32 * r >= first + c ? load_fresh(at) : T{};
      x[r][c] = T{};
    }
  }
  for (int t = 0;;) {
    apply_reflector(w, x, y, d, first, t);
    if (++t >= w.steps) break;
    apply_reflector(w, y, x, d, first, t);
    if (++t >= w.steps) break;
  }
  begin_step();
}

template <class T, int b>
__device__ void chase(const Chase& a) {
  __shared__ ChaseShared<T, b> shared;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  for (int s = blockIdx.x; s < a.n - 2; s += gridDim.x) {
    const Sweep<T, b> sweep{a, shared, s, (a.n - 1 - s + b - 1) / b, warp, lane, static_cast<T*>(a.band)};
    if (warp == column_warps + 2) {
      run_poller(sweep);
    } else if (warp == column_warps + 1) {
      run_publisher(sweep);
    } else if (warp == column_warps) {
      run_chain(sweep);
    } else {
      run_columns(sweep);
    }
  }
}

// Diagonal, off-diagonal and phases of a Hermitian tridiagonal matrix in band storage, see real_tridiagonal() of
// engine/host/chase.h. One block: each phase follows from the previous one.
template <class T>
__device__ void real_tridiagonal(const T* band, int ld, int n, DeviceReal<T>* d, DeviceReal<T>* e, T* phases) {
  constexpr int threads = 256;
  const int thread = static_cast<int>(threadIdx.x);
  if constexpr (DeviceScalar<T>::complex) {
    using R = DeviceReal<T>;
    __shared__ T phase[threads];
    T last{R(1), R(0)};
    for (int begin = 0; begin < n; begin += threads) {
      const int j = begin + thread;
      phase[thread] = T{R(1), R(0)};  // the phase of row j + 1 relative to row j
      if (j < n) {
        const T* const at = band + static_cast<long long>(j) * ld;
        d[j] = at[0].re;
        if (j + 1 < n) {
          const R size = modulus(at[1].re, at[1].im);
          e[j] = size;
          if (size != 0) {
            const T turn{at[1].re / size, at[1].im / size};
            const R error = modulus(turn.re, turn.im);  // where `size` is denormal
            phase[thread] = T{turn.re / error, turn.im / error};
          }
        }
      }
      __syncthreads();
      if (thread == 0) {
        for (int i = 0; i < threads; ++i) {
          T next = last * phase[i];
          next = (R(1.5) - squared_modulus(next) / 2) * next;  // Newton's step to modulus one
          phase[i] = last;
          last = next;
        }
      }
      __syncthreads();
      if (j < n) phases[j] = phase[thread];
      __syncthreads();
    }
  } else {
    for (int j = thread; j < n; j += threads) {
      const T* const at = band + static_cast<long long>(j) * ld;
      d[j] = at[0];
      if (j + 1 < n) e[j] = at[1];
      phases[j] = 1;
    }
  }
}

// D(g, t) of order 2b (engine/diamonds.h) in a block of 8b threads, four to a column. In H(k) ... H(b-1) I the rows
// before k still equal the rows of I, and rows from k + b on are final. Each thread keeps the rest of its column in a
// window of registers that moves up by one every four reflectors.
template <class T, int b>
__device__ void form_diamond(const DiamondBatch& a) {
  constexpr int order = 2 * b, window = b / 4 + 1, threads = 8 * b;
  __shared__ T v[b][b + 8];  // rows of reflectors, four zeros before and after each
  const int thread = static_cast<int>(threadIdx.x), column = thread / 4, part = thread % 4;
  const int wave = static_cast<int>(blockIdx.y), i = static_cast<int>(blockIdx.x), whole = i >> (2 * a.levels);
  if (whole >= a.count[wave]) return;
  const DiamondGrid grid{a.n, b};
  const DiamondPart of_whole(i - (whole << (2 * a.levels)), a.levels);
  const Index g = ((a.g[wave] + whole) << a.levels) + of_whole.g, t = ((a.t[wave] + whole) << a.levels) + of_whole.t;
  T* const q = static_cast<T*>(a.q) + (a.first[wave] + i) * order * order;
  if (g >= grid.groups() || t >= grid.steps(g)) {  // beyond the matrix
    for (int at = thread; at < order * order; at += threads) q[at] = scalar<T>(at / order == at % order ? 1 : 0, 0);
    return;
  }
  const T* const block = static_cast<const T*>(a.reflectors) + (grid.place(g, t) - a.skipped) * b * b;
  for (int at = thread; at < 8 * b; at += threads) v[at / 8][at % 8 < 4 ? at % 8 : b + at % 8] = T{};
  for (int at = thread; at < b * b; at += threads) v[at / b][4 + at % b] = block[at];
  __syncthreads();

  T w[window];  // rows b - 4 + 4 i + part, at first
#pragma unroll
  for (int r = 0; r < window; ++r) w[r] = scalar<T>(b - 4 + 4 * r + part == column ? 1 : 0, 0);
  T* const out = q + static_cast<long long>(column) * order + part;
#pragma unroll 1
  for (int four = b / 4 - 1; four >= 0; --four) {
#pragma unroll
    for (int k = 3; k >= 0; --k) {
      const T* const u = &v[4 * four + k][4 + part - k];
      T ur[window], sums[4] = {};
#pragma unroll
      for (int r = 0; r < window; ++r) ur[r] = u[4 * r];
#pragma unroll
      for (int r = 0; r < window; ++r) add_conjugate_product(sums[r % 4], ur[r], w[r]);
      T sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
      sum = sum + shuffle_xor(sum, 1);
      sum = -(sum + shuffle_xor(sum, 2));
#pragma unroll
      for (int r = 0; r < window; ++r) add_product(w[r], ur[r], sum);
    }
    out[4 * four + b] = w[window - 1];
#pragma unroll
    for (int r = window - 1; r > 0; --r) w[r] = w[r - 1];
    w[0] = scalar<T>(4 * (four - 1) + part == column ? 1 : 0, 0);
  }
#pragma unroll
  for (int r = 0; r < window - 1; ++r) out[4 * r] = w[r + 1];
}

}  // namespace jaxmg
