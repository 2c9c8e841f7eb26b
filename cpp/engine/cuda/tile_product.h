// Products of small matrices by a warp, in tiles of 8 x 8 elements.
//
// For the kernel compiler only.
#pragma once

#include "device_scalar.h"
#include "matrix_units.h"

namespace jaxmg {

// Adds A B to a warp's 8 x 8 tile; a lane has elements (lane / 4, 2 (lane % 4) + {0, 1}). `left(i, k)` and
// `right(k, j)` are elements of A and B; the depth is a multiple of 4.
template <class T, class Left, class Right>
__device__ __forceinline__ void multiply_tile(T (&sum)[2], int depth, Left left, Right right) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if constexpr (sizeof(T) == 8 && !DeviceScalar<T>::complex) {
#pragma unroll 4
    for (int k = lane % 4; k < depth; k += 4) multiply_8x8x4(sum, left(lane / 4, k), right(k, lane / 4));
  } else {
#pragma unroll 4
    for (int k = 0; k < depth; ++k) {
      const T x = left(lane / 4, k);
      sum[0] = sum[0] + x * right(k, 2 * (lane % 4));
      sum[1] = sum[1] + x * right(k, 2 * (lane % 4) + 1);
    }
  }
}

// Two such products of the same depth at once, into different sums.
template <class T, class Left, class Right, class OtherLeft, class OtherRight>
__device__ __forceinline__ void multiply_tiles(T (&sum)[2], T (&other)[2], int depth, Left left, Right right,
                                               OtherLeft other_left, OtherRight other_right) {
  if constexpr (sizeof(T) == 8 && !DeviceScalar<T>::complex) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll 4
    for (int k = lane % 4; k < depth; k += 4) {
      multiply_8x8x4(sum, left(lane / 4, k), right(k, lane / 4));
      multiply_8x8x4(other, other_left(lane / 4, k), other_right(k, lane / 4));
    }
  } else {
    multiply_tile<T>(sum, depth, left, right);
    multiply_tile<T>(other, depth, other_left, other_right);
  }
}

}  // namespace jaxmg
