// The CUDA kernels, named jaxmg_<kernel> or, for each scalar type, jaxmg_<kernel>_<type>. The host looks them up by
// name (launch.h).
//
// Kernels that exist for several types are in headers without include guards, which are included once for each type.
#include "chase_kernel.h"
#include "device_scalar.h"
#include "device_sums.h"
#include "engine/noise.h"
#include "engine/scaling.h"
#include "engine/secular.h"
#include "engine/tridiagonal.h"
#include "geqrt_kernel.h"
#include "getrf_kernel.h"
#include "hermitian_kernel.h"
#include "interchanges.h"
#include "kernel_abi.h"
#include "potrf_kernel.h"
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
#undef JAXMG_NAME
#undef JAXMG_ONE_BANDWIDTH
}  // namespace c128

}  // namespace jaxmg
