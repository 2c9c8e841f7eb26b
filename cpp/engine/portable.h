// Definitions for code that the host compiler and the kernel compiler share. Such code has no other includes: NVRTC,
// which also compiles the kernels, has no standard library.
#pragma once

#if defined(__CUDACC__)
#define JAXMG_PORTABLE __device__
#else
#define JAXMG_PORTABLE
#include <cmath>
#include <cstdint>
#endif

namespace jaxmg {

#if defined(__CUDACC__)
using Index = long;
#else
using Index = std::int64_t;
using std::copysign;
using std::fabs;
using std::sqrt;
#endif
static_assert(sizeof(Index) == 8, "indices have 64 bits");

// Half the distance from 1 to the next number, LAPACK's eps.
template <class Real>
JAXMG_PORTABLE constexpr Real unit_roundoff() {
  return sizeof(Real) == 8 ? Real(1.1102230246251565e-16) : Real(5.9604644775390625e-8);
}

// A number safely above all numbers whose reciprocal overflows.
template <class Real>
JAXMG_PORTABLE constexpr Real smallest_pivot() {
  return sizeof(Real) == 8 ? Real(1e-292) : Real(1e-31f);
}

}  // namespace jaxmg
