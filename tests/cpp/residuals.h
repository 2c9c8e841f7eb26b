// Residuals of factors and solutions, computed in at least double precision.
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "core/scalar.h"
#include "engine/host/blas.h"
#include "gtest/gtest.h"
#include "lapack.h"
#include "matrices.h"

namespace jaxmg::testing {

template <class T>
using Wide = std::conditional_t<is_complex<T>, std::complex<double>, double>;

template <class T>
Matrix<Wide<T>> widened(const Matrix<T>& a) {
  Matrix<Wide<T>> wide(a.rows(), a.columns());
  std::copy_n(a.data(), a.rows() * a.columns(), wide.data());
  return wide;
}

// C = C + alpha A op(B).
template <class T>
void gemm(T alpha, const Matrix<T>& a, Op op, const Matrix<T>& b, Matrix<T>& c) {
  const int m = static_cast<int>(c.rows()), n = static_cast<int>(c.columns()), k = static_cast<int>(a.columns());
  const int lda = std::max(1, m), ldb = std::max(1, static_cast<int>(b.rows()));
  const T one = 1;
  Blas<T>::instance().gemm("N", op == Op::none ? "N" : "C", &m, &n, &k, &alpha, a.data(), &lda, b.data(), &ldb, &one,
                           c.data(), &lda);
}

template <class T>
double frobenius(const Matrix<T>& a) {
  double sum = 0;
  for (std::int64_t i = 0; i < a.rows() * a.columns(); ++i) {
    const double real = static_cast<double>(std::real(a.data()[i])), imag = static_cast<double>(std::imag(a.data()[i]));
    sum += real * real + imag * imag;  // std::norm computes a square root.
  }
  return std::sqrt(sum);
}

// n eps of T's precision, the unit of backward errors.
template <class T>
double n_eps(std::int64_t n) {
  return static_cast<double>(n) * static_cast<double>(std::numeric_limits<Real<T>>::epsilon());
}

// ||A - L L^H|| / (n eps ||A||). Below (n + 1) / n in exact analysis of |A - L L^H| <= (n + 1) eps |L| |L^H|, whose
// right side may have a norm n times that of A; in practice far below 1 (Higham, Accuracy and Stability of
// Numerical Algorithms, 2nd ed., theorem 10.3).
template <class T>
double factor_error(const Matrix<T>& a, const Matrix<T>& l) {
  const auto wide = widened(l);
  auto difference = widened(a);
  gemm<Wide<T>>(-1.0, wide, Op::conj_transpose, wide, difference);
  return frobenius(difference) / (n_eps<T>(a.rows()) * frobenius(a));
}

// ||B - A X|| / (n eps ||A|| ||X||): the normwise backward error of X.
template <class T>
double solve_error(const Matrix<T>& a, const Matrix<T>& x, const Matrix<T>& b) {
  auto difference = widened(b);
  gemm<Wide<T>>(-1.0, widened(a), Op::none, widened(x), difference);
  return frobenius(difference) / (n_eps<T>(a.rows()) * frobenius(a) * frobenius(x));
}

// solve(B), by substitutions for a diagonally dominant A, where B has elements up to 1 times a power of two near the
// ends of the range. No sum that a substitution may form exceeds 2^5 times the largest element of B: up to there, the
// power multiplies X without rounding. Near the smallest normal numbers, products are rounded to multiples of the least
// positive number, which is below eps times the elements of B.
template <class T>
void expect_solutions_near_the_ends_of_the_range(const Matrix<T>& a, const Matrix<T>& b, auto&& solve) {
  using Limits = std::numeric_limits<Real<T>>;
  constexpr int large = Limits::max_exponent - 6, small = Limits::min_exponent + 12;
  EXPECT_EQ(solve(times_power_of_two(b, large)), times_power_of_two(solve(b), large));
  const Matrix<T> x = times_power_of_two(solve(times_power_of_two(b, small)), -small);
  EXPECT_LE(solve_error(a, x, b), 3);
}

template <class T>
Matrix<Wide<T>> minus(const Matrix<T>& x, const Matrix<T>& y) {
  Matrix<Wide<T>> d = widened(x);
  for (std::int64_t i = 0; i < d.rows() * d.columns(); ++i) d.data()[i] -= Wide<T>(y.data()[i]);
  return d;
}

// ||X - Y|| / (n eps ||Y||).
template <class T>
double difference(const Matrix<T>& x, const Matrix<T>& y) {
  return frobenius(minus(x, y)) / (n_eps<T>(y.rows()) * frobenius(y));
}

}  // namespace jaxmg::testing
