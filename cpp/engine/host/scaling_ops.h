// The host engine's operations that scale matrices (ScalingOps, EquilibrationOps), except choose_scale, which combines
// all ranks.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>

#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/equilibration_ops.h"
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

  template <class T>
  void equilibrate(Lane, const Equilibrated<T>& a, MatrixView<Single<T>> to, MatrixView<Real<T>> of_rows,
                   MatrixView<Real<T>> of_columns, const EquilibrationWorkspace<T>&) {
    const std::int64_t n = a.m.rows;
    std::fill_n(of_rows.data, n, Real<T>(0));
    for (std::int64_t j = 0; j < a.m.columns; ++j) {
      const std::int64_t diagonal = a.first + j, begin = a.lower ? diagonal : 0;
      const Real<T> factor = *a.columns.at(diagonal, 0);
      std::fill_n(to.at(0, j), begin, Single<T>(0));
      const T corner = *a.m.at(diagonal, j) * factor * *a.rows.at(diagonal, 0) * (1 + *a.shift.data);
      const Real<T> size = magnitude(corner);
      *to.at(diagonal, j) = static_cast<Single<T>>(corner);
      if (!a.lower) *of_rows.at(diagonal, 0) += size;
      *of_columns.at(j, 0) = size + equilibrate_rows(a, j, factor, begin, diagonal, to, of_rows) +
                             equilibrate_rows(a, j, factor, diagonal + 1, n, to, of_rows);
    }
  }

 private:
  // |x|, which may overflow or underflow where its square does: callers take that for a matrix that single precision
  // cannot represent.
  template <class T>
  static Real<T> magnitude(T x) {
    if constexpr (is_complex<T>) {
      return std::sqrt(x.real() * x.real() + x.imag() * x.imag());
    } else {
      return std::abs(x);
    }
  }

  // Equilibrates rows [begin, end) of a column, adds to the sums of rows, and returns the sum of the column.
  template <class T>
  static Real<T> equilibrate_rows(const Equilibrated<T>& a, std::int64_t column, Real<T> factor, std::int64_t begin,
                                  std::int64_t end, MatrixView<Single<T>> to, MatrixView<Real<T>> of_rows) {
    const T* const from = a.m.at(0, column);
    const Real<T>* const factors = a.rows.data;
    Single<T>* const target = to.at(0, column);
    Real<T>* const sums = of_rows.data;
    // Sums of interleaved rows do not depend on each other: compilers vectorise them.
    constexpr std::int64_t lanes = 8;
    std::array<Real<T>, lanes> total{};
    const auto add = [&](std::int64_t i, std::size_t lane) {
      const T value = from[i] * factor * factors[i];
      const Real<T> size = magnitude(value);
      target[i] = static_cast<Single<T>>(value);
      sums[i] += size;
      total[lane] += size;
    };
    std::int64_t i = begin;
    for (; i + lanes <= end; i += lanes) {
      for (std::size_t k = 0; k < lanes; ++k) add(i + static_cast<std::int64_t>(k), k);
    }
    for (; i < end; ++i) add(i, 0);
    return std::accumulate(total.begin(), total.end(), Real<T>(0));
  }

  // The larger of `most` and |x|; infinity if x is not finite.
  template <class R>
  static R larger(R most, R x) {
    const R size = std::abs(x),
            finite = size <= std::numeric_limits<R>::max() ? size : std::numeric_limits<R>::infinity();
    return most < finite ? finite : most;
  }
};

}  // namespace jaxmg
