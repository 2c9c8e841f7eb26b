// General test matrices, including hard ones for LU factorisation.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/scalar.h"
#include "matrices.h"

namespace jaxmg::testing {

template <class T>
using Named = std::vector<std::pair<std::string, Matrix<T>>>;

// Rows scaled from 10^exponent to 10^-exponent, evenly in the logarithm.
template <class T>
Matrix<T> graded(std::int64_t n, double exponent, unsigned seed) {
  Matrix<T> a = random_matrix<T>(n, n, seed);
  for (std::int64_t i = 0; i < n; ++i) {
    const double at = n > 1 ? static_cast<double>(i) / static_cast<double>(n - 1) : 0;
    const auto scale = static_cast<Real<T>>(std::pow(10.0, exponent * (1 - 2 * at)));
    for (std::int64_t j = 0; j < n; ++j) a(i, j) *= scale;
  }
  return a;
}

// Wilkinson's matrix of order `order`, extended by the identity: elements of U grow to 2^(order - 1), the maximum.
template <class T>
Matrix<T> growing(std::int64_t n, std::int64_t order) {
  Matrix<T> a(n, n);
  for (std::int64_t i = 0; i < n; ++i) {
    a(i, i) = T(1);
    if (i >= order) continue;
    for (std::int64_t j = 0; j < i; ++j) a(i, j) = T(-1);
    a(i, std::min(n, order) - 1) = T(1);
  }
  return a;
}

template <class T>
Matrix<T> vandermonde(std::int64_t n) {
  Matrix<T> a(n, n);
  for (std::int64_t i = 0; i < n; ++i) {
    const double at = static_cast<double>(i + 1) / static_cast<double>(n);
    for (std::int64_t j = 0; j < n; ++j) a(i, j) = T(static_cast<Real<T>>(std::pow(at, static_cast<double>(j))));
  }
  return a;
}

// Permutation: the 1 of row i is in column 7 i + 3 mod n, or in column n - 1 - i if 7 divides n.
template <class T>
Matrix<T> permuted_identity(std::int64_t n) {
  Matrix<T> a(n, n);
  for (std::int64_t i = 0; i < n; ++i) a(i, n % 7 == 0 ? n - 1 - i : (7 * i + 3) % n) = T(1);
  return a;
}

// [0 B; C 0]: all leading minors up to order n / 2 vanish.
template <class T>
Matrix<T> without_leading_minors(std::int64_t n, unsigned seed) {
  Matrix<T> a = random_matrix<T>(n, n, seed);
  for (std::int64_t j = 0; j < n / 2; ++j) {
    for (std::int64_t i = 0; i < n - n / 2; ++i) a(i, j) = T(0);
  }
  return a;
}

// Of rank n / 2, up to rounding.
template <class T>
Matrix<T> of_half_rank(std::int64_t n, unsigned seed) {
  Matrix<T> a = random_matrix<T>(n, n, seed);
  for (std::int64_t j = n - n / 2; j < n; ++j) {
    for (std::int64_t i = 0; i < n; ++i) a(i, j) = a(i, j - (n - n / 2)) + a(i, 0);
  }
  return a;
}

// Nonsingular.
template <class T>
Named<T> general_matrices(std::int64_t n) {
  return {{"random", random_matrix<T>(n, n, 21)},   {"graded", graded<T>(n, 12, 22)},
          {"growing", growing<T>(n, 16)},           {"Vandermonde", vandermonde<T>(n)},
          {"permutation", permuted_identity<T>(n)}, {"zero leading minors", without_leading_minors<T>(n, 23)},
          {"rank n / 2", of_half_rank<T>(n, 24)}};
}

}  // namespace jaxmg::testing
