// Complex numbers for kernels, laid out as std::complex, and the arithmetic of all four scalar types under one name.
// For the kernel compiler only. No includes: NVRTC has no standard library.
#pragma once

namespace jaxmg {

template <class Real>
struct alignas(2 * sizeof(Real)) DeviceComplex {
  Real re, im;
};

template <class T>
struct DeviceScalar {
  using Real = T;
  using Single = float;
  static constexpr bool complex = false;
};
template <class R>
struct DeviceScalar<DeviceComplex<R>> {
  using Real = R;
  using Single = DeviceComplex<float>;
  static constexpr bool complex = true;
};
template <class T>
using DeviceReal = typename DeviceScalar<T>::Real;
template <class T>
using DeviceSingle = typename DeviceScalar<T>::Single;

template <class R>
__device__ inline DeviceComplex<R> operator+(DeviceComplex<R> x, DeviceComplex<R> y) {
  return {x.re + y.re, x.im + y.im};
}
template <class R>
__device__ inline DeviceComplex<R> operator-(DeviceComplex<R> x, DeviceComplex<R> y) {
  return {x.re - y.re, x.im - y.im};
}
template <class R>
__device__ inline DeviceComplex<R> operator*(DeviceComplex<R> x, DeviceComplex<R> y) {
  return {x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re};
}
template <class R>
__device__ inline DeviceComplex<R> operator*(R x, DeviceComplex<R> y) {
  return {x * y.re, x * y.im};
}
template <class R>
__device__ inline DeviceComplex<R> operator-(DeviceComplex<R> x) {
  return {-x.re, -x.im};
}

__device__ inline float conjugate(float x) { return x; }
__device__ inline double conjugate(double x) { return x; }
template <class R>
__device__ inline DeviceComplex<R> conjugate(DeviceComplex<R> x) {
  return {x.re, -x.im};
}

__device__ inline float real_part(float x) { return x; }
__device__ inline double real_part(double x) { return x; }
template <class R>
__device__ inline R real_part(DeviceComplex<R> x) {
  return x.re;
}
__device__ inline float imaginary_part(float) { return 0; }
__device__ inline double imaginary_part(double) { return 0; }
template <class R>
__device__ inline R imaginary_part(DeviceComplex<R> x) {
  return x.im;
}

// Makes a number from its real and imaginary part; a real number takes only the first.
template <class T>
__device__ inline T scalar(DeviceReal<T> real, DeviceReal<T> imaginary) {
  if constexpr (DeviceScalar<T>::complex) {
    return {real, imaginary};
  } else {
    return real;
  }
}

__device__ inline float shuffle_xor(float x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
__device__ inline double shuffle_xor(double x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
template <class R>
__device__ inline DeviceComplex<R> shuffle_xor(DeviceComplex<R> x, int mask) {
  return {shuffle_xor(x.re, mask), shuffle_xor(x.im, mask)};
}

__device__ inline float quotient(float x, float y) { return x / y; }
__device__ inline double quotient(double x, double y) { return x / y; }
// By Smith's method, which neither overflows nor underflows where the quotient does not.
template <class R>
__device__ inline DeviceComplex<R> quotient(DeviceComplex<R> x, DeviceComplex<R> y) {
  if (fabs(y.re) >= fabs(y.im)) {
    const R ratio = y.im / y.re, divisor = y.re + y.im * ratio;
    return {(x.re + x.im * ratio) / divisor, (x.im - x.re * ratio) / divisor};
  }
  const R ratio = y.re / y.im, divisor = y.re * ratio + y.im;
  return {(x.re * ratio + x.im) / divisor, (x.im * ratio - x.re) / divisor};
}

template <class T>
__device__ inline T from_lane(T x, int lane) {
  if constexpr (DeviceScalar<T>::complex) {
    return {__shfl_sync(0xffffffffu, x.re, lane), __shfl_sync(0xffffffffu, x.im, lane)};
  } else {
    return __shfl_sync(0xffffffffu, x, lane);
  }
}

// Sum over a warp, returned in all lanes, in a fixed order.
template <class T>
__device__ inline T warp_sum(T x) {
  for (int mask = 16; mask > 0; mask /= 2) x = x + shuffle_xor(x, mask);
  return x;
}

// Sums of each of `count` numbers over the lanes of a warp: returns sum number lane / (32 / count).
template <int count, class T>
__device__ __forceinline__ T sums_of_warp(T (&x)[count]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int left = count;
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    if (left > 1) {
      left /= 2;
#pragma unroll
      for (int i = 0; i < count / 2; ++i) {
        if (i >= left) continue;
        const bool upper = (lane & mask) != 0;
        const T kept = upper ? x[i + left] : x[i], sent = upper ? x[i] : x[i + left];
        x[i] = kept + shuffle_xor(sent, mask);
      }
    } else {
      x[0] = x[0] + shuffle_xor(x[0], mask);
    }
  }
  return x[0];
}

__device__ inline float squared_modulus(float x) { return x * x; }
__device__ inline double squared_modulus(double x) { return x * x; }
template <class R>
__device__ inline R squared_modulus(DeviceComplex<R> x) {
  return x.re * x.re + x.im * x.im;
}

__device__ inline float modulus(float x) { return fabsf(x); }
__device__ inline double modulus(double x) { return fabs(x); }
// Overflows or underflows where its square does.
template <class R>
__device__ inline R modulus(DeviceComplex<R> x) {
  return sqrt(squared_modulus(x));
}

__device__ inline float to_single(float x) { return x; }
__device__ inline float to_single(double x) { return static_cast<float>(x); }
template <class R>
__device__ inline DeviceComplex<float> to_single(DeviceComplex<R> x) {
  return {static_cast<float>(x.re), static_cast<float>(x.im)};
}

__device__ inline float reciprocal_root(float x) { return rsqrtf(x); }
__device__ inline double reciprocal_root(double x) { return rsqrt(x); }

// Loads that bypass the L1 cache, which does not see writes of other blocks.
__device__ inline float load_fresh(const float* x) { return __ldcg(x); }
__device__ inline double load_fresh(const double* x) { return __ldcg(x); }
__device__ inline DeviceComplex<float> load_fresh(const DeviceComplex<float>* x) {
  const float2 value = __ldcg(reinterpret_cast<const float2*>(x));
  return {value.x, value.y};
}
__device__ inline DeviceComplex<double> load_fresh(const DeviceComplex<double>* x) {
  const double2 value = __ldcg(reinterpret_cast<const double2*>(x));
  return {value.x, value.y};
}

template <class Real>
__device__ void make_real(Real&) {}
template <class Real>
__device__ void make_real(DeviceComplex<Real>& x) {
  x.im = 0;
}

}  // namespace jaxmg
