// The few kernels that no library has. Names are found by cpp/engine/cuda/kernels.cc.
#include "chase_kernel.h"
#include "device_scalar.h"
#include "geqrt_kernel.h"
#include "kernel_abi.h"
#include "tridiagonal_kernels.h"

using namespace jaxmg;

namespace {

// Loads of one thread in flight before its stores: peer stores are posted, loads are what takes time.
constexpr int unroll = 4;

template <class Vector>
__device__ void copy_item(const CopyBatch& batch, const CopyItem& item) {
  const int per_column = item.column_bytes / static_cast<int>(sizeof(Vector));
  const long long total = static_cast<long long>(per_column) * item.columns;
  const long long stride = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long first = blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x; first < total;
       first += unroll * stride) {
    Vector value[unroll];
    long long at[unroll];
#pragma unroll
    for (int u = 0; u < unroll; ++u) {
      const long long i = first + u * stride;
      if (i >= total) continue;
      const long long column = i / per_column;
      const long long byte = (i - column * per_column) * static_cast<long long>(sizeof(Vector));
      value[u] = *reinterpret_cast<const Vector*>(item.from + column * item.from_pitch + byte);
      at[u] = column * item.to_pitch + byte;
    }
    for (int target = 0; target < copy_targets; ++target) {
      if ((item.targets >> target & 1) == 0) continue;
      char* const to = item.to + batch.offset[target][item.region];
#pragma unroll
      for (int u = 0; u < unroll; ++u) {
        if (first + u * stride < total) *reinterpret_cast<Vector*>(to + at[u]) = value[u];
      }
    }
  }
}

template <class Real>
__device__ void subtract(const Subtraction& s) {
  const long long total = static_cast<long long>(s.rows) * s.columns;
  for (long long i = blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x; i < total;
       i += static_cast<long long>(gridDim.x) * blockDim.x) {
    const long long column = i / s.rows, row = i - column * s.rows;
    Real sum = 0;
    for (int t = 0; t < s.count; ++t) sum += static_cast<const Real*>(s.terms[t])[row + column * s.term_ld[t]];
    static_cast<Real*>(s.x)[row + column * s.x_ld] -= sum;
  }
}

template <class Real>
__device__ void make_real(Real&) {}
template <class Real>
__device__ void make_real(DeviceComplex<Real>& x) {
  x.im = 0;
}

// Each block turns 32 x 32 squares of the lower triangle, a warp for a column.
template <class Scalar>
__device__ void mirror(Scalar* a, long long ld, int n) {
  __shared__ Scalar square[32][33];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  const long long squares = (n + 31) / 32;
  for (long long s = blockIdx.x; s < squares * squares; s += gridDim.x) {
    const int row = static_cast<int>(s % squares * 32), column = static_cast<int>(s / squares * 32);
    if (row < column) continue;
    for (int j = warp; j < 32; j += warps) {
      if (row + lane < n && column + j < n) square[j][lane] = a[row + lane + (column + j) * ld];
    }
    __syncthreads();
    for (int i = warp; i < 32; i += warps) {
      const int from = row + i, to = column + lane;  // A(to, from) = conj(A(from, to))
      if (from >= n || to > from) continue;
      Scalar value = conjugate(square[lane][i]);
      if (to == from) make_real(value);
      a[to + from * ld] = value;
    }
    __syncthreads();
  }
}

template <class Scalar>
__device__ void zero_below(Scalar* a, long long ld, int n) {
  for (int j = blockIdx.x; j < n; j += gridDim.x) {
    for (int i = j + 1 + threadIdx.x; i < n; i += blockDim.x) a[i + j * ld] = Scalar{};
  }
}

template <class Real>
__device__ void set_diagonal(Real* a, long long stride, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) a[i * stride] = 1;
}

// One block. `stride` reals lie between neighbouring diagonal entries. Not every potrf reports NaN or infinite
// pivots, but they show on the diagonal of the factor.
template <class Real>
__device__ void check_factor(const Real* diagonal, long long stride, int n, int row, const int* failed, int* info) {
  __shared__ int first;
  if (threadIdx.x == 0) first = *failed > 0 ? *failed : n + 1;
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    const Real pivot = diagonal[i * stride];
    if (!(pivot > 0) || !isfinite(pivot)) atomicMin(&first, i + 1);
  }
  __syncthreads();
  if (threadIdx.x == 0 && first <= n && row + first < *info) *info = row + first;
}

template <class Real>
__device__ void conclude(const int* info, int ranks, int none, Real* x, long long count, int* status) {
  int first = none;
  for (int r = 0; r < ranks; ++r) first = info[r] < first ? info[r] : first;
  if (blockIdx.x == 0 && threadIdx.x == 0) *status = first == none ? 0 : first;
  if (first == none) return;
  for (long long i = blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x; i < count;
       i += static_cast<long long>(gridDim.x) * blockDim.x) {
    x[i] = static_cast<Real>(__longlong_as_double(0x7ff8000000000000LL));
  }
}

// Ones on the diagonal, zeros above it; a scalar is one real number or two.
template <class Real>
__device__ void unit_lower(Real* a, long long ld, int rows, int columns, int reals) {
  for (int j = blockIdx.x; j < columns; j += gridDim.x) {
    for (int i = threadIdx.x; i < min(j + 1, rows) * reals; i += blockDim.x) {
      a[i + j * ld] = static_cast<Real>(i == j * reals);
    }
  }
}

__device__ void atomic_largest(float* largest, float x) {
  atomicMax(reinterpret_cast<int*>(largest), __float_as_int(x));
}
__device__ void atomic_largest(double* largest, double x) {
  atomicMax(reinterpret_cast<long long*>(largest), __double_as_longlong(x));
}

// *norm becomes the largest of itself and the moduli. Numbers that are not negative are ordered as their bits are.
template <class Real>
__device__ void largest(const Real* a, long long ld, int rows, int columns, Real* norm) {
  Real most = 0;
  for (int j = blockIdx.x; j < columns; j += gridDim.x) {
    for (int i = threadIdx.x; i < rows; i += blockDim.x) {
      const Real x = fabs(a[i + j * ld]);
      if (!(x <= most)) most = x - x == 0 ? x : static_cast<Real>(__longlong_as_double(0x7ff0000000000000LL));
    }
  }
  for (int mask = 16; mask > 0; mask /= 2) {
    const Real other = shuffle_xor(most, mask);
    if (other > most) most = other;
  }
  if (threadIdx.x % 32 == 0 && most > 0) atomic_largest(norm, most);
}

template <class Real>
__device__ void choose_scale(const Real* norms, int ranks, Real* scale, int failure, int* info) {
  Real norm = 0;
  for (int r = 0; r < ranks; ++r) norm = norms[r] > norm ? norms[r] : norm;
  *scale = scale_for(norm);
  if (*scale == 0) *info = failure;
}

template <class Real>
__device__ void multiply(const Real* scale, Real* a, long long ld, int rows, int columns) {
  const Real by = *scale;
  if (by == 1) return;
  for (int j = blockIdx.x; j < columns; j += gridDim.x) {
    for (int i = threadIdx.x; i < rows; i += blockDim.x) a[i + j * ld] = by == 0 ? 0 : by * a[i + j * ld];
  }
}

template <class Real>
__device__ void divide(const Real* scale, Real* a, long long ld, int rows, int columns) {
  for (int j = blockIdx.x; j < columns; j += gridDim.x) {
    for (int i = threadIdx.x; i < rows; i += blockDim.x) a[i + j * ld] /= *scale;
  }
}

}  // namespace

extern "C" __global__ void jaxmg_copy(const __grid_constant__ CopyBatch batch) {
  for (int i = 0; i < batch.count; ++i) {
    const CopyItem& item = batch.items[i];
    if (item.vector == 16) {
      copy_item<int4>(batch, item);
    } else if (item.vector == 8) {
      copy_item<int2>(batch, item);
    } else {
      copy_item<int>(batch, item);
    }
  }
}

extern "C" __global__ void jaxmg_subtract_f32(const __grid_constant__ Subtraction s) { subtract<float>(s); }
extern "C" __global__ void jaxmg_subtract_f64(const __grid_constant__ Subtraction s) { subtract<double>(s); }

extern "C" __global__ void jaxmg_check_factor_f32(const float* diagonal, long long stride, int n, int row,
                                                  const int* failed, int* info) {
  check_factor(diagonal, stride, n, row, failed, info);
}
extern "C" __global__ void jaxmg_check_factor_f64(const double* diagonal, long long stride, int n, int row,
                                                  const int* failed, int* info) {
  check_factor(diagonal, stride, n, row, failed, info);
}

extern "C" __global__ void jaxmg_conclude_f32(const int* info, int ranks, int none, float* x, long long count,
                                              int* status) {
  conclude(info, ranks, none, x, count, status);
}
extern "C" __global__ void jaxmg_conclude_f64(const int* info, int ranks, int none, double* x, long long count,
                                              int* status) {
  conclude(info, ranks, none, x, count, status);
}

extern "C" __global__ void jaxmg_set_i32(int* at, int value) { *at = value; }

extern "C" __global__ void jaxmg_mirror_f32(float* a, long long ld, int n) { mirror(a, ld, n); }
extern "C" __global__ void jaxmg_zero_below_f32(float* a, long long ld, int n) { zero_below(a, ld, n); }

extern "C" __global__ void jaxmg_mirror_f64(double* a, long long ld, int n) { mirror(a, ld, n); }
extern "C" __global__ void jaxmg_zero_below_f64(double* a, long long ld, int n) { zero_below(a, ld, n); }

extern "C" __global__ void jaxmg_mirror_c64(DeviceComplex<float>* a, long long ld, int n) { mirror(a, ld, n); }
extern "C" __global__ void jaxmg_zero_below_c64(DeviceComplex<float>* a, long long ld, int n) { zero_below(a, ld, n); }

extern "C" __global__ void jaxmg_mirror_c128(DeviceComplex<double>* a, long long ld, int n) { mirror(a, ld, n); }
extern "C" __global__ void jaxmg_zero_below_c128(DeviceComplex<double>* a, long long ld, int n) {
  zero_below(a, ld, n);
}

extern "C" __global__ void jaxmg_set_diagonal_f32(float* a, long long stride, int n) { set_diagonal(a, stride, n); }
extern "C" __global__ void jaxmg_set_diagonal_f64(double* a, long long stride, int n) { set_diagonal(a, stride, n); }

#define JAXMG_GEQRT(name, scalar) \
  extern "C" __global__ void __launch_bounds__(512, 1) name(PanelQr q) { geqrt<scalar>(q); }
JAXMG_GEQRT(jaxmg_geqrt_f32, float)
JAXMG_GEQRT(jaxmg_geqrt_f64, double)
JAXMG_GEQRT(jaxmg_geqrt_c64, DeviceComplex<float>)
JAXMG_GEQRT(jaxmg_geqrt_c128, DeviceComplex<double>)
#undef JAXMG_GEQRT

#define JAXMG_SCALING(suffix, real)                                                                                   \
  extern "C" __global__ void jaxmg_unit_lower_##suffix(real* a, long long ld, int rows, int columns, int reals) {     \
    unit_lower(a, ld, rows, columns, reals);                                                                          \
  }                                                                                                                   \
  extern "C" __global__ void jaxmg_largest_##suffix(const real* a, long long ld, int rows, int columns, real* norm) { \
    largest(a, ld, rows, columns, norm);                                                                              \
  }                                                                                                                   \
  extern "C" __global__ void jaxmg_choose_scale_##suffix(const real* norms, int ranks, real* scale, int failure,      \
                                                         int* info) {                                                 \
    choose_scale(norms, ranks, scale, failure, info);                                                                 \
  }                                                                                                                   \
  extern "C" __global__ void jaxmg_multiply_##suffix(const real* scale, real* a, long long ld, int rows,              \
                                                     int columns) {                                                   \
    multiply(scale, a, ld, rows, columns);                                                                            \
  }                                                                                                                   \
  extern "C" __global__ void jaxmg_divide_##suffix(const real* scale, real* a, long long ld, int rows, int columns) { \
    divide(scale, a, ld, rows, columns);                                                                              \
  }
JAXMG_SCALING(f32, float)
JAXMG_SCALING(f64, double)
#undef JAXMG_SCALING

// The number of blocks on a multiprocessor is what registers allow without spilling.
#define JAXMG_CHASE(suffix, scalar, b, blocks)                                     \
  extern "C" __global__ void __launch_bounds__(chase_threads, blocks)              \
      jaxmg_chase_##suffix##_##b(const __grid_constant__ Chase a) {                \
    chase<scalar, b>(a);                                                           \
  }                                                                                \
  extern "C" __global__ void __launch_bounds__(8 * b, 1)                           \
      jaxmg_form_diamonds_##suffix##_##b(const __grid_constant__ DiamondBatch a) { \
    form_diamond<scalar, b>(a);                                                    \
  }
JAXMG_CHASE(f32, float, 32, 2)
JAXMG_CHASE(f32, float, 64, 1)
JAXMG_CHASE(f64, double, 32, 2)
JAXMG_CHASE(f64, double, 64, 1)
JAXMG_CHASE(c64, DeviceComplex<float>, 32, 2)
JAXMG_CHASE(c64, DeviceComplex<float>, 64, 1)
JAXMG_CHASE(c128, DeviceComplex<double>, 32, 1)
#undef JAXMG_CHASE

#define JAXMG_TRIDIAGONAL(suffix, scalar)                                                                        \
  extern "C" __global__ void __launch_bounds__(256) jaxmg_real_tridiagonal_##suffix(                             \
      const scalar* band, int ld, int n, DeviceReal<scalar>* d, DeviceReal<scalar>* e, scalar* phases) {         \
    real_tridiagonal(band, ld, n, d, e, phases);                                                                 \
  }                                                                                                              \
  extern "C" __global__ void jaxmg_merge_corners_##suffix(const scalar* parts, scalar* q, scalar* y, int h) {    \
    merge_corners(parts, q, y, h);                                                                               \
  }                                                                                                              \
  extern "C" __global__ void jaxmg_scale_rows_##suffix(const scalar* factors, scalar* a, long long ld, int rows, \
                                                       int columns) {                                            \
    scale_rows(factors, a, ld, rows, columns);                                                                   \
  }
JAXMG_TRIDIAGONAL(f32, float)
JAXMG_TRIDIAGONAL(f64, double)
JAXMG_TRIDIAGONAL(c64, DeviceComplex<float>)
JAXMG_TRIDIAGONAL(c128, DeviceComplex<double>)
#undef JAXMG_TRIDIAGONAL

#define JAXMG_DIVIDE_AND_CONQUER(suffix, real)                                                                    \
  extern "C" __global__ void __launch_bounds__(32) jaxmg_solve_leaves_##suffix(                                   \
      Halving leaves, Index leaf, real* d, const real* e, Index row, Index rows, real* q, Index ldq, int* info) { \
    solve_leaf(leaves, leaf, d, e, row, rows, q, ldq, info);                                                      \
  }                                                                                                               \
  extern "C" __global__ void jaxmg_take_cut_rows_##suffix(Halving merges, Index row, const real* q, Index ldq,    \
                                                          Index first, Index count, real* z) {                    \
    take_cut_rows(merges, row, q, ldq, first, count, z);                                                          \
  }                                                                                                               \
  extern "C" __global__ void jaxmg_rotate_columns_##suffix(                                                       \
      Halving merges, const __grid_constant__ ColumnChains<real> chains, Index row, Index rows, const real* from, \
      Index ld_from, real* to, Index ld_to) {                                                                     \
    rotate_columns(merges, chains, row, rows, from, ld_from, to, ld_to);                                          \
  }                                                                                                               \
  extern "C" __global__ void __launch_bounds__(128) jaxmg_solve_secular_##suffix(                                 \
      const __grid_constant__ MergeLevel<real> level, Index first, Index count, int* info) {                      \
    solve_secular(level, first, count, info);                                                                     \
  }                                                                                                               \
  extern "C" __global__ void __launch_bounds__(128)                                                               \
      jaxmg_adapt_weights_##suffix(const __grid_constant__ MergeLevel<real> level, Index first, Index count) {    \
    adapt_weights(level, first, count);                                                                           \
  }                                                                                                               \
  extern "C" __global__ void jaxmg_keep_deflated_##suffix(const __grid_constant__ MergeLevel<real> level,         \
                                                          Index column, Index row, Index rows, const real* from,  \
                                                          Index ld_from, real* to, Index ld_to) {                 \
    keep_deflated(level, column, row, rows, from, ld_from, to, ld_to);                                            \
  }                                                                                                               \
  extern "C" __global__ void jaxmg_secular_vectors_##suffix(const __grid_constant__ MergeLevel<real> level,       \
                                                            Index first, real* s, Index lds) {                    \
    secular_vectors(level, first, s, lds);                                                                        \
  }                                                                                                               \
  extern "C" __global__ void __launch_bounds__(128)                                                               \
      jaxmg_bisect_##suffix(Index n, const real* d, const real* squares, real low, real high, Index first,        \
                            Index count, real* w, Index stride) {                                                 \
    bisect(n, d, squares, low, high, first, count, w, stride);                                                    \
  }                                                                                                               \
  extern "C" __global__ void jaxmg_widen_##suffix(const real* from, Index ld_from, Index rows, Index columns,     \
                                                  real* to, Index ld_to) {                                        \
    widen(from, ld_from, rows, columns, to, ld_to);                                                               \
  }
JAXMG_DIVIDE_AND_CONQUER(f32, float)
JAXMG_DIVIDE_AND_CONQUER(f64, double)
#undef JAXMG_DIVIDE_AND_CONQUER
