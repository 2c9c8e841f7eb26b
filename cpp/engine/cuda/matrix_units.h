// Products of small matrices by matrix units (tensor cores), by a whole warp.
//
// float32 products are sums of three products of TF32 numbers, which have 11 significant bits:
//
//   x = high + low        high is x rounded to 11 bits; low is exact, and the matrix units take its first 11 bits
//   x y = low high + high low + high high        the error is at most 2^-21 |x y|, and 2^-24 |x y| on average
//
// Matrix units round sums towards zero. Therefore they add up the products of only four columns, and sums of such sums
// are formed by ordinary additions: errors are as in float32 arithmetic. Double-precision matrix units need no parts
// and are nearly as fast on an H100, but many GPUs have slow ones.
//
// For the kernel compiler only.
#pragma once

#include "device_scalar.h"

namespace jaxmg {

// C = C + A B^T for an 8 x 8 matrix C and A, B with 4 columns. A lane holds element (lane / 4, lane % 4) of A and of B,
// and elements (lane / 4, 2 (lane % 4)) and the next one of C.
__device__ inline void multiply_8x8x4(double (&c)[2], double a, double b) {
  asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
      : "+d"(c[0]), "+d"(c[1])
      : "d"(a), "d"(b));
}

struct Tf32Parts {
  unsigned high, low;
};

// NaN and infinity have a `low` that is NaN.
__device__ inline Tf32Parts tf32_parts(float x) {
  const unsigned high = (__float_as_uint(x) + 0x1000u) & 0xffffe000u;
  return {high, __float_as_uint(x - __uint_as_float(high))};
}
__device__ inline Tf32Parts operator-(Tf32Parts x) { return {x.high ^ 0x80000000u, x.low ^ 0x80000000u}; }

// C = C + A B^T for a 16 x 8 matrix C in TF32. A lane holds elements (lane / 4 + {0, 8}, lane % 4) of A, element
// (lane / 4, lane % 4) of B, and elements (lane / 4, 2 (lane % 4)), the next one, and those 8 rows below of C.
__device__ inline void multiply_16x8x4(float (&c)[4], unsigned a, unsigned a_below, unsigned b) {
  asm("mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a), "r"(a_below), "r"(b));
}
__device__ inline void multiply_16x8x4(float (&c)[4], const Tf32Parts (&a)[2], Tf32Parts b) {
  multiply_16x8x4(c, a[0].low, a[1].low, b.high);
  multiply_16x8x4(c, a[0].high, a[1].high, b.low);
  multiply_16x8x4(c, a[0].high, a[1].high, b.high);
}

// C = C + A B^H for an 8 m x 8 n matrix C and A, B with 4 columns. A lane holds elements (8 i + lane / 4, lane % 4) of
// A and B, and elements (8 i + lane / 4, 8 j + 2 (lane % 4) + {0, 1}) of C.
template <int m, int n>
__device__ __forceinline__ void add_product(double (&c)[m][n][2], const double (&a)[m], const double (&b)[n]) {
#pragma unroll
  for (int i = 0; i < m; ++i) {
#pragma unroll
    for (int j = 0; j < n; ++j) multiply_8x8x4(c[i][j], a[i], b[j]);
  }
}

template <int m, int n>
__device__ __forceinline__ void add_product(DeviceComplex<double> (&c)[m][n][2], const DeviceComplex<double> (&a)[m],
                                            const DeviceComplex<double> (&b)[n]) {
#pragma unroll
  for (int i = 0; i < m; ++i) {
#pragma unroll
    for (int j = 0; j < n; ++j) {
      double re[2] = {c[i][j][0].re, c[i][j][1].re}, im[2] = {c[i][j][0].im, c[i][j][1].im};
      multiply_8x8x4(re, a[i].re, b[j].re);
      multiply_8x8x4(im, a[i].im, b[j].re);
      multiply_8x8x4(re, a[i].im, b[j].im);
      multiply_8x8x4(im, -a[i].re, b[j].im);
      c[i][j][0] = {re[0], im[0]};
      c[i][j][1] = {re[1], im[1]};
    }
  }
}

template <int m, int n>
__device__ __forceinline__ void add_product(float (&c)[m][n][2], const float (&a)[m], const float (&b)[n]) {
  static_assert(m % 2 == 0, "matrix units take 16 rows");
  Tf32Parts right[n];
#pragma unroll
  for (int j = 0; j < n; ++j) right[j] = tf32_parts(b[j]);
#pragma unroll
  for (int i = 0; i < m; i += 2) {
    const Tf32Parts left[2] = {tf32_parts(a[i]), tf32_parts(a[i + 1])};
#pragma unroll
    for (int j = 0; j < n; ++j) {
      float sum[4] = {};
      multiply_16x8x4(sum, left, right[j]);
#pragma unroll
      for (int k = 0; k < 4; ++k) c[i + k / 2][j][k % 2] += sum[k];
    }
  }
}

template <int m, int n>
__device__ __forceinline__ void add_product(DeviceComplex<float> (&c)[m][n][2], const DeviceComplex<float> (&a)[m],
                                            const DeviceComplex<float> (&b)[n]) {
  static_assert(m % 2 == 0, "matrix units take 16 rows");
#pragma unroll
  for (int i = 0; i < m; i += 2) {
    const Tf32Parts re[2] = {tf32_parts(a[i].re), tf32_parts(a[i + 1].re)};
    const Tf32Parts im[2] = {tf32_parts(a[i].im), tf32_parts(a[i + 1].im)};
#pragma unroll
    for (int j = 0; j < n; ++j) {
      const Tf32Parts right_re = tf32_parts(b[j].re), right_im = tf32_parts(b[j].im);
      float sum_re[4] = {}, sum_im[4] = {};
      multiply_16x8x4(sum_re, re, right_re);
      multiply_16x8x4(sum_im, im, right_re);
      multiply_16x8x4(sum_re, im, right_im);
      multiply_16x8x4(sum_im, re, -right_im);
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        DeviceComplex<float>& to = c[i + k / 2][j][k % 2];
        to = to + DeviceComplex<float>{sum_re[k], sum_im[k]};
      }
    }
  }
}

}  // namespace jaxmg
