// The host engine's operations of polar and singular value decompositions (SvdOps).
#pragma once

#include <cmath>
#include <complex>
#include <cstdint>

#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"
#include "engine/noise.h"
#include "engine/svd_ops.h"

namespace jaxmg {

class HostSvdOps {
 public:
  template <class T>
  void scale_and_shift(Lane, Real<T> alpha, MatrixView<T> a, Real<T> shift, MatrixView<T> b) {
    for (std::int64_t j = 0; j < b.columns; ++j) {
      for (std::int64_t i = 0; i < b.rows; ++i) *b.at(i, j) = alpha * *a.at(i, j);
      if (shift != 0 && j < b.rows) *b.at(j, j) += shift;
    }
  }

  template <class T>
  void combine(Lane, Real<T> alpha, MatrixView<T> a, Real<T> beta, MatrixView<T> b) {
    for (std::int64_t j = 0; j < b.columns; ++j) {
      for (std::int64_t i = 0; i < b.rows; ++i) *b.at(i, j) = alpha * *a.at(i, j) + beta * *b.at(i, j);
    }
  }

  template <class T>
  void measure_columns(Lane, MatrixView<T> a, Real<T>* diagonal, Real<T>* below) {
    for (std::int64_t j = 0; j < a.columns; ++j) {
      Real<T> sum = 0;
      for (std::int64_t i = j + 1; i < a.rows; ++i) sum += std::norm(*a.at(i, j));
      diagonal[j] = std::real(*a.at(j, j));
      below[j] = sum;
    }
  }

  template <class T>
  void add_noise(Lane, Real<T> size, std::int64_t row, std::int64_t column, MatrixView<T> a) {
    for (std::int64_t j = 0; j < a.columns; ++j) {
      for (std::int64_t i = 0; i < a.rows; ++i) {
        if constexpr (is_complex<T>) {
          const Real<T> half = size * static_cast<Real<T>>(0.70710678118654752);
          *a.at(i, j) +=
              T(half * noise<Real<T>>(row + i, column + j, 0), half * noise<Real<T>>(row + i, column + j, 1));
        } else {
          *a.at(i, j) += size * noise<T>(row + i, column + j, 0);
        }
      }
    }
  }
};

}  // namespace jaxmg
