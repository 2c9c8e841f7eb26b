// The CUDA kernels, named jaxmg_<kernel> or, for each scalar type, jaxmg_<kernel>_<type>. The host looks them up by
// name (launch.h).
//
// Kernels that exist for several types are in headers without include guards, which are included once for each type.
#include "arrivals.h"
#include "chase_kernel.h"
#include "device_flags.h"
#include "device_scalar.h"
#include "device_sums.h"
#include "engine/noise.h"
#include "engine/scaling.h"
#include "engine/secular.h"
#include "engine/tridiagonal.h"
#include "equilibrate_kernel.h"
#include "geqrt_kernel.h"
#include "getrf_kernel.h"
#include "hermitian_kernel.h"
#include "interchanges.h"
#include "kernel_abi.h"
#include "potrf_kernel.h"
#include "row_pass_kernel.h"
#include "sweep_kernel.h"
#include "two_sided_kernel.h"
#include "unit_lower_kernel.h"
#include "waves_kernel.h"

namespace jaxmg {

// Loads that a thread keeps in flight before its stores: stores to peers are posted, and loads determine the time.
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

extern "C" __global__ void jaxmg_set_i32(int* at, int value) { *at = value; }

// From LAPACK's pivots of a matrix of `rows` rows, the first of which has number `row`.
extern "C" __global__ void jaxmg_number_pivots(int* pivots, int row, int count, int rows) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
    pivots[i] = row + valid_pivot(pivots[i] - 1, i, rows);
  }
}

// A block for each chunk.
extern "C" __global__ void __launch_bounds__(interchange_chunk)
    jaxmg_plan_interchanges(const int* pivots, int row, int count, int rows, RowMoves* moves) {
  const int first = static_cast<int>(blockIdx.x) * interchange_chunk, left = count - first;
  const RowMoves own =
      plan_moves(pivots + first, row + first, left < interchange_chunk ? left : interchange_chunk, rows);
  if (static_cast<int>(threadIdx.x) < left) moves[first + threadIdx.x] = own;
}

extern "C" __global__ void jaxmg_number(int* places, int count) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) places[i] = i;
}

extern "C" __global__ void __launch_bounds__(interchange_chunk)
    jaxmg_place(const RowMoves* moves, int count, int* places) {
  move_rows<int, 1>(true, moves, count, 1, [&](int i, int) -> int& { return places[i]; });
}

// origins[places[i]] = i for begin <= i < end.
extern "C" __global__ void jaxmg_invert(const int* places, int begin, int end, int* origins) {
  for (int i = begin + blockIdx.x * blockDim.x + threadIdx.x; i < end; i += gridDim.x * blockDim.x) {
    origins[places[i]] = i;
  }
}

extern "C" __global__ void jaxmg_set_urgent(int* word, int urgent) {
  if (threadIdx.x == 0) store_release(word, urgent);
}

// One warp.
extern "C" __global__ void jaxmg_give_way(const int* urgent, long long nanoseconds) {
  const long long begin = nanoseconds_now();
  while (load_acquire(urgent) != 0 && nanoseconds_now() - begin < nanoseconds) __nanosleep(500);
}

// A number as two of FP16, high + low / 2^11.
__device__ inline void split(float value, unsigned short& high, unsigned short& low) {
  float rounded;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(high) : "f"(value));
  asm("cvt.f32.f16 %0, %1;" : "=f"(rounded) : "h"(high));
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(low) : "f"(2048 * (value - rounded)));
}

// Parts [H M] of A or, if it is complex (two reals), of [A, iA] with real and imaginary parts in alternate rows.
extern "C" __global__ void jaxmg_split_left(const float* a, long long ld, long long rows, long long columns, int reals,
                                            unsigned short* parts, long long to_ld) {
  const long long next = columns * to_ld, part = reals * next;
  for (long long column = blockIdx.x; column < columns; column += gridDim.x) {
    for (long long row = threadIdx.x; row < rows; row += blockDim.x) {
      const float* const from = a + reals * (row + column * ld);
      unsigned short* const to = parts + reals * row + column * to_ld;
      unsigned short high, low;
      split(from[0], high, low);
      to[0] = high;
      to[part] = low;
      if (reals == 1) continue;
      constexpr unsigned short sign = 0x8000;
      to[next + 1] = high;
      to[next + 1 + part] = low;
      split(from[1], high, low);
      to[1] = high;
      to[1 + part] = low;
      to[next] = high ^ sign;
      to[next + part] = low ^ sign;
    }
  }
}

// Parts H, M and H of B or, if it is complex, of its real parts and, `next` elements later, of its imaginary parts
// times `sign`.
extern "C" __global__ void jaxmg_split_right(const float* b, long long ld, long long rows, long long columns, int reals,
                                             float sign, unsigned short* parts, long long to_ld, long long next) {
  const long long part = reals * next;
  for (long long column = blockIdx.x; column < columns; column += gridDim.x) {
    for (long long row = threadIdx.x; row < rows; row += blockDim.x) {
      const float* const from = b + reals * (row + column * ld);
      unsigned short* const to = parts + row + column * to_ld;
      for (int k = 0; k < reals; ++k) {
        unsigned short high, low;
        split(k == 0 ? from[0] : sign * from[1], high, low);
        to[k * next] = to[k * next + 2 * part] = high;
        to[k * next + part] = low;
      }
    }
  }
}

// For each row of M, n x m, a power of two that brings its largest element in some columns to between 8 and 16: FP16 is
// normal from 2^-14 on, and infinite from 2^16 on. 1 if these elements are 0. A thread block for 32 rows.
extern "C" __global__ void __launch_bounds__(256)
    jaxmg_scales_for_half(const float* a, long long ld, long long m, int n, float* scales) {
  constexpr long long sample = 512;
  __shared__ float partial[8][32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, j = static_cast<int>(blockIdx.x) * 32 + lane;
  const long long step = m > sample ? m / sample : 1;
  float most = 0;
  if (j < n) {
    for (long long i = warp * step; i < m; i += 8 * step) most = fmaxf(most, fabsf(a[j + i * ld]));
  }
  partial[warp][lane] = most;
  __syncthreads();
  if (warp > 0 || j >= n) return;
  for (int w = 1; w < 8; ++w) most = fmaxf(most, partial[w][lane]);
  int exponent = 0;
  if (most > 0 && most - most == 0) frexpf(most, &exponent);
  scales[j] = most > 0 ? ldexpf(1.0f, min(max(4 - exponent, -126), 126)) : 1.0f;
}

// H = diag(scales) M in FP16 and, with w, -M w in full precision, for which each block writes its own sum, or adds it
// to that of an earlier launch. `group` threads take a column of M, `vector` elements each, 4 or 1.
template <int vector>
__device__ void round_rows(const float* a, long long ld, long long m, int n, const float* scales, unsigned short* to,
                           long long to_ld, int group, const float* w, float* sums, bool adds) {
  constexpr int columns = 4;  // in flight
  __shared__ float partial[256][vector];
  const int own = vector * (static_cast<int>(threadIdx.x) % group);
  const long long stride = static_cast<long long>(gridDim.x) * (blockDim.x / group);
  const long long first = static_cast<long long>(blockIdx.x) * (blockDim.x / group) + threadIdx.x / group;
  for (int begin = 0; begin < n; begin += vector * group) {
    const int j = begin + own;
    const long long last = j < n ? m : 0;
    float scale[vector], sum[vector];
    for (int v = 0; v < vector; ++v) {
      scale[v] = j < n ? scales[j + v] : 0.0f;
      sum[v] = 0;
    }
    for (long long i = first; i < last; i += columns * stride) {
      alignas(16) float from[columns][vector];
      float right[columns];
#pragma unroll
      for (int c = 0; c < columns; ++c) {
        if (i + c * stride >= m) continue;
        const float* const at = a + j + (i + c * stride) * ld;
        if constexpr (vector == 4) {
          *reinterpret_cast<float4*>(from[c]) = __ldcs(reinterpret_cast<const float4*>(at));
        } else {
          from[c][0] = *at;
        }
        right[c] = w != nullptr ? w[i + c * stride] : 0.0f;
      }
#pragma unroll
      for (int c = 0; c < columns; ++c) {
        if (i + c * stride >= m) continue;
        unsigned short rounded[vector];
#pragma unroll
        for (int v = 0; v < vector; ++v) {
          asm("cvt.rn.f16.f32 %0, %1;" : "=h"(rounded[v]) : "f"(scale[v] * from[c][v]));
          sum[v] -= from[c][v] * right[c];
        }
        unsigned short* const at = to + j + (i + c * stride) * to_ld;
        if constexpr (vector == 4) {
          *reinterpret_cast<ushort4*>(at) = make_ushort4(rounded[0], rounded[1], rounded[2], rounded[3]);
        } else {
          *at = rounded[0];
        }
      }
    }
    if (w == nullptr) continue;
    for (int v = 0; v < vector; ++v) partial[threadIdx.x][v] = sum[v];
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < group && j < n) {
      float* const at = sums + static_cast<long long>(blockIdx.x) * n + j;
      for (int v = 0; v < vector; ++v) {
        float total = adds ? at[v] : 0.0f;
        for (int t = threadIdx.x; t < static_cast<int>(blockDim.x); t += group) total += partial[t][v];
        at[v] = total;
      }
    }
    __syncthreads();
  }
}
extern "C" __global__ void __launch_bounds__(256)
    jaxmg_round_rows(const float* a, long long ld, long long m, int n, const float* scales, unsigned short* to,
                     long long to_ld, int group, int vector, const float* w, float* sums, int adds) {
  if (vector == 4) {
    round_rows<4>(a, ld, m, n, scales, to, to_ld, group, w, sums, adds != 0);
  } else {
    round_rows<1>(a, ld, m, n, scales, to, to_ld, group, w, sums, adds != 0);
  }
}

// The sum of `count` rows x columns matrices, the first of whose columns is on the diagonal of a Gram matrix, without
// the scales of its rows and columns; in a fixed order.
extern "C" __global__ void jaxmg_add_partials(const float* partials, int count, int rows, int columns,
                                              const float* scales, float* gram, long long ld) {
  const long long total = static_cast<long long>(rows) * columns;
  for (long long at = blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x; at < total;
       at += static_cast<long long>(gridDim.x) * blockDim.x) {
    const int i = static_cast<int>(at % rows), j = static_cast<int>(at / rows);
    if (i < j) continue;
    float sum = 0;
#pragma unroll 4
    for (int k = 0; k < count; ++k) sum += partials[at + k * total];
    gram[i + j * ld] = -(sum / scales[i] / scales[j]);
  }
}

extern "C" __global__ void __launch_bounds__(waves_threads, 1)
    jaxmg_apply_waves_32(const __grid_constant__ WaveRange range) {
  apply_waves<32>(range);
}
extern "C" __global__ void __launch_bounds__(waves_threads, 1)
    jaxmg_apply_waves_64(const __grid_constant__ WaveRange range) {
  apply_waves<64>(range);
}
extern "C" __global__ void __launch_bounds__(wy_sweeps* wy_sweeps)
    jaxmg_form_blocks_32(const __grid_constant__ WaveRange range) {
  form_blocks<32>(range);
}
extern "C" __global__ void __launch_bounds__(wy_sweeps* wy_sweeps)
    jaxmg_form_blocks_64(const __grid_constant__ WaveRange range) {
  form_blocks<64>(range);
}

namespace f32 {
using Scalar = float;
using Real = float;
#define JAXMG_SWEEP_MANY
#define JAXMG_NAME(kernel) jaxmg_##kernel##_f32
#include "cholesky_kernels.h"
#include "lu_kernels.h"
#include "real_kernels.h"
#include "scalar_kernels.h"
#include "svd_kernels.h"
#include "sweep_kernels.h"
#include "tall_kernels.h"
#include "tridiagonal_kernels.h"
#undef JAXMG_NAME
#undef JAXMG_SWEEP_MANY
}  // namespace f32

namespace f64 {
using Scalar = double;
using Real = double;
#define JAXMG_NAME(kernel) jaxmg_##kernel##_f64
#include "cholesky_kernels.h"
#include "lu_kernels.h"
#include "real_kernels.h"
#include "scalar_kernels.h"
#include "svd_kernels.h"
#include "sweep_kernels.h"
#include "tall_kernels.h"
#include "tridiagonal_kernels.h"
#undef JAXMG_NAME
}  // namespace f64

namespace c64 {
using Scalar = DeviceComplex<float>;
using Real = float;
#define JAXMG_NAME(kernel) jaxmg_##kernel##_c64
#include "cholesky_kernels.h"
#include "lu_kernels.h"
#include "scalar_kernels.h"
#include "sweep_kernels.h"
#include "tall_kernels.h"
#undef JAXMG_NAME
}  // namespace c64

namespace c128 {
using Scalar = DeviceComplex<double>;
using Real = double;
#define JAXMG_ONE_BANDWIDTH
#define JAXMG_NAME(kernel) jaxmg_##kernel##_c128
#include "cholesky_kernels.h"
#include "lu_kernels.h"
#include "scalar_kernels.h"
#include "sweep_kernels.h"
#include "tall_kernels.h"
#undef JAXMG_NAME
#undef JAXMG_ONE_BANDWIDTH
}  // namespace c128

}  // namespace jaxmg
