// The few kernels that no library has. Names are found by cpp/engine/cuda/kernels.cc.
#include "kernel_abi.h"

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

// A complex number, as it lies in memory.
template <class Real>
struct Pair {
  Real re, im;
};

template <class Real>
__device__ Real conjugate(Real x) {
  return x;
}
template <class Real>
__device__ Pair<Real> conjugate(Pair<Real> x) {
  return {x.re, -x.im};
}

template <class Real>
__device__ void make_real(Real&) {}
template <class Real>
__device__ void make_real(Pair<Real>& x) {
  x.im = 0;
}

// Each block turns 32 x 32 squares of the lower triangle, a warp for a column.
template <class Scalar>
__device__ void mirror(Scalar* a, long long ld, int n) {
  __shared__ Scalar square[32][33];
  const int squares = (n + 31) / 32, lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  for (int s = blockIdx.x; s < squares * squares; s += gridDim.x) {
    const int row = s % squares * 32, column = s / squares * 32;
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

extern "C" __global__ void jaxmg_mirror_c64(Pair<float>* a, long long ld, int n) { mirror(a, ld, n); }
extern "C" __global__ void jaxmg_zero_below_c64(Pair<float>* a, long long ld, int n) { zero_below(a, ld, n); }

extern "C" __global__ void jaxmg_mirror_c128(Pair<double>* a, long long ld, int n) { mirror(a, ld, n); }
extern "C" __global__ void jaxmg_zero_below_c128(Pair<double>* a, long long ld, int n) { zero_below(a, ld, n); }

extern "C" __global__ void jaxmg_set_diagonal_f32(float* a, long long stride, int n) { set_diagonal(a, stride, n); }
extern "C" __global__ void jaxmg_set_diagonal_f64(double* a, long long stride, int n) { set_diagonal(a, stride, n); }
