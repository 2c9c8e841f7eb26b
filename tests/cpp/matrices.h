// Test matrices.
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "core/matrix_view.h"
#include "core/scalar.h"

namespace jaxmg::testing {

// A column-major matrix in host memory.
template <class T>
class Matrix {
 public:
  Matrix() = default;
  Matrix(std::int64_t rows, std::int64_t columns, T value = T(0))
      : rows_(rows), columns_(columns), elements_(static_cast<std::size_t>(rows * columns), value) {}

  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  T& operator()(std::int64_t i, std::int64_t j) { return elements_[index(i, j)]; }
  const T& operator()(std::int64_t i, std::int64_t j) const { return elements_[index(i, j)]; }
  T* data() { return elements_.data(); }
  const T* data() const { return elements_.data(); }
  MatrixView<T> view() { return {data(), rows_, columns_, std::max<std::int64_t>(1, rows_)}; }

  bool operator==(const Matrix&) const = default;

 private:
  std::size_t index(std::int64_t i, std::int64_t j) const { return static_cast<std::size_t>(i + j * rows_); }

  std::int64_t rows_ = 0, columns_ = 0;
  std::vector<T> elements_;
};

template <class T>
T not_a_number() {
  return T(std::numeric_limits<Real<T>>::quiet_NaN());
}

template <class T>
T make_scalar(double real, double imaginary) {
  if constexpr (is_complex<T>) {
    return T(static_cast<Real<T>>(real), static_cast<Real<T>>(imaginary));
  } else {
    return static_cast<T>(real);
  }
}

// Entries distributed uniformly in [-1, 1] (imaginary parts, too).
template <class T>
Matrix<T> random_matrix(std::int64_t rows, std::int64_t columns, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> entry(-1, 1);
  Matrix<T> a(rows, columns);
  for (std::int64_t j = 0; j < columns; ++j) {
    for (std::int64_t i = 0; i < rows; ++i) {
      const double real = entry(random);
      a(i, j) = make_scalar<T>(real, entry(random));
    }
  }
  return a;
}

// A 2^exponent.
template <class T>
Matrix<T> times_power_of_two(Matrix<T> a, int exponent) {
  auto* const reals = reinterpret_cast<Real<T>*>(a.data());
  const auto count = static_cast<std::size_t>(a.rows() * a.columns()) * (sizeof(T) / sizeof(Real<T>));
  for (std::size_t i = 0; i < count; ++i) reals[i] = std::ldexp(reals[i], exponent);
  return a;
}

// Hermitian, and by Gershgorin's theorem positive definite: no row sum of moduli off the diagonal reaches sqrt(2) n.
template <class T>
Matrix<T> positive_definite(std::int64_t n, unsigned seed) {
  Matrix<T> a = random_matrix<T>(n, n, seed);
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = j; i < n; ++i) a(j, i) = conjugate(a(i, j));
    a(j, j) = T(static_cast<Real<T>>(1.5 * static_cast<double>(n) + std::abs(std::real(a(j, j)))));
  }
  return a;
}

// A squared-exponential kernel on a line, its condition limited to about length / nugget. Complex ones have
// their rows and columns turned by phases, which changes no eigenvalue.
template <class T>
Matrix<T> kernel(std::int64_t n, double length, double nugget) {
  Matrix<T> a(n, n);
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < n; ++i) {
      const double distance = static_cast<double>(i - j) / length, angle = static_cast<double>(i - j);
      const double value = std::exp(-distance * distance / 2) + (i == j ? nugget : 0);
      a(i, j) =
          is_complex<T> ? make_scalar<T>(value * std::cos(angle), value * std::sin(angle)) : make_scalar<T>(value, 0);
    }
  }
  return a;
}

// Hermitian, with positive leading minors up to order `minor` - 1, and a negative minor of order `minor`.
template <class T>
Matrix<T> indefinite_from(std::int64_t n, std::int64_t minor, unsigned seed) {
  Matrix<T> a = positive_definite<T>(n, seed);
  a(minor - 1, minor - 1) = -a(minor - 1, minor - 1);
  return a;
}

// Sets elements above the diagonal to NaN, to detect routines that read them.
template <class T>
Matrix<T> lower_only(Matrix<T> a) {
  for (std::int64_t j = 0; j < a.columns(); ++j) {
    for (std::int64_t i = 0; i < std::min(j, a.rows()); ++i) a(i, j) = not_a_number<T>();
  }
  return a;
}

// The lower triangle with zeros above it.
template <class T>
Matrix<T> lower_triangle(Matrix<T> a) {
  for (std::int64_t j = 0; j < a.columns(); ++j) {
    for (std::int64_t i = 0; i < std::min(j, a.rows()); ++i) a(i, j) = T(0);
  }
  return a;
}

template <class T>
Matrix<T> transposed(const Matrix<T>& a) {
  Matrix<T> b(a.columns(), a.rows());
  for (std::int64_t j = 0; j < a.columns(); ++j) {
    for (std::int64_t i = 0; i < a.rows(); ++i) b(j, i) = a(i, j);
  }
  return b;
}

// Upper triangular, of which LU finds the diagonal as the pivots: number `zero` is 0, no other one is.
template <class T>
Matrix<T> singular_at(std::int64_t n, std::int64_t zero) {
  Matrix<T> a(n, n);
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i <= j; ++i) a(i, j) = T(1);
  }
  a(zero, zero) = T(0);
  return a;
}

template <class T>
bool all_nan(const Matrix<T>& a) {
  return std::all_of(a.data(), a.data() + a.rows() * a.columns(), [](T x) { return std::isnan(std::real(x)); });
}

}  // namespace jaxmg::testing
