// The host engine's operations that scale matrices (ScalingOps), except choose_scale, which combines all ranks.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/scaling_ops.h"

namespace jaxmg {

class HostScalingOps {
 public:
  template <class T>
  void largest(Lane, MatrixView<T> a, Real<T>* norm) {
    constexpr Real<T> infinity = std::numeric_limits<Real<T>>::infinity();
    Real<T> largest = *norm;
    for (std::int64_t j = 0; j < a.columns; ++j) {
      for (std::int64_t i = 0; i < a.rows; ++i) {
        const T value = *a.at(i, j);
        for (const Real<T> part : {std::abs(std::real(value)), std::abs(std::imag(value))}) {
          largest = std::max(largest, std::isfinite(part) ? part : infinity);
        }
      }
    }
    *norm = largest;
  }

  template <class T>
  void multiply(Lane, const Real<T>* scale, MatrixView<T> a) {
    if (*scale == 1) return;
    for (std::int64_t j = 0; j < a.columns; ++j) {
      for (std::int64_t i = 0; i < a.rows; ++i) *a.at(i, j) = *scale == 0 ? T(0) : *a.at(i, j) * *scale;
    }
  }

  template <class T>
  void divide(Lane lane, const Real<T>* scale, MatrixView<T> a) {
    divide_upper(lane, scale, a.rows, a);
  }

  template <class T>
  void divide_upper(Lane, const Real<T>* scale, std::int64_t row, MatrixView<T> a) {
    if (*scale == 1) return;
    for (std::int64_t j = 0; j < a.columns; ++j) {
      for (std::int64_t i = 0; i < std::min(a.rows, row + j + 1); ++i) *a.at(i, j) /= *scale;
    }
  }
};

}  // namespace jaxmg
