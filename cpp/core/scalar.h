// The four LAPACK scalar types, and dispatch from a run-time type to a template argument.
#pragma once

#include <complex>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "core/error.h"

namespace jaxmg {

enum class ScalarType : std::int64_t { f32 = 0, f64 = 1, c64 = 2, c128 = 3 };

template <class T>
struct ScalarTraits;

template <>
struct ScalarTraits<float> {
  using Real = float;
  static constexpr ScalarType type = ScalarType::f32;
  static constexpr bool is_complex = false;
};
template <>
struct ScalarTraits<double> {
  using Real = double;
  static constexpr ScalarType type = ScalarType::f64;
  static constexpr bool is_complex = false;
};
template <>
struct ScalarTraits<std::complex<float>> {
  using Real = float;
  static constexpr ScalarType type = ScalarType::c64;
  static constexpr bool is_complex = true;
};
template <>
struct ScalarTraits<std::complex<double>> {
  using Real = double;
  static constexpr ScalarType type = ScalarType::c128;
  static constexpr bool is_complex = true;
};

template <class T>
using Real = typename ScalarTraits<T>::Real;

template <class T>
inline constexpr bool is_complex = ScalarTraits<T>::is_complex;

// The type in single precision.
template <class T>
using Single = std::conditional_t<is_complex<T>, std::complex<float>, float>;

template <class T>
T conjugate(T value) {
  if constexpr (is_complex<T>) {
    return std::conj(value);
  } else {
    return value;
  }
}

// Calls `function.template operator()<T>()` for the C++ type behind `type`.
template <class Function>
decltype(auto) dispatch(ScalarType type, Function&& function) {
  switch (type) {
    case ScalarType::f32:
      return function.template operator()<float>();
    case ScalarType::f64:
      return function.template operator()<double>();
    case ScalarType::c64:
      return function.template operator()<std::complex<float>>();
    case ScalarType::c128:
      return function.template operator()<std::complex<double>>();
  }
  throw Error(ErrorCode::invalid_argument, "unknown scalar type");
}

inline std::int64_t size_of(ScalarType type) {
  return dispatch(type, []<class T>() { return static_cast<std::int64_t>(sizeof(T)); });
}

// Floating-point operations of one multiply-add pair: 2 for real, 8 for complex scalars.
inline double flops_per_fma(ScalarType type) { return type == ScalarType::f32 || type == ScalarType::f64 ? 2.0 : 8.0; }

}  // namespace jaxmg
