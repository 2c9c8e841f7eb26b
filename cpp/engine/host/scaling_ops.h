// The host engine's operations that scale matrices (ScalingOps), except choose_scale, which combines all ranks.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
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
    using R = Real<T>;
    // Maxima of interleaved rows do not depend on each other: compilers vectorise them.
    constexpr std::int64_t lanes = 8;
    std::array<R, lanes> found;
    found.fill(*norm);
    const std::int64_t count = a.rows * (is_complex<T> ? 2 : 1);  // real and imaginary parts
    for (std::int64_t j = 0; j < a.columns; ++j) {
      const R* const x = reinterpret_cast<const R*>(a.at(0, j));
      std::int64_t i = 0;
      for (; i + lanes <= count; i += lanes) {
        for (std::size_t k = 0; k < lanes; ++k) found[k] = larger(found[k], x[i + static_cast<std::int64_t>(k)]);
      }
      for (; i < count; ++i) found[0] = larger(found[0], x[i]);
    }
    *norm = *std::max_element(found.begin(), found.end());
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

 private:
  // The larger of `most` and |x|; infinity if x is not finite.
  template <class R>
  static R larger(R most, R x) {
    const R size = std::abs(x),
            finite = size <= std::numeric_limits<R>::max() ? size : std::numeric_limits<R>::infinity();
    return most < finite ? finite : most;
  }
};

}  // namespace jaxmg
