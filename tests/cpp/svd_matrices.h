// Square test matrices on which singular value and polar decompositions are known to fail, and singular values by
// LAPACK.
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "general.h"
#include "gtest/gtest.h"
#include "hermitian.h"
#include "matrices.h"
#include "residuals.h"

extern "C" {
void dgesvd_(const char* jobu, const char* jobvt, const int* m, const int* n, double* a, const int* lda, double* s,
             double* u, const int* ldu, double* vt, const int* ldvt, double* work, const int* lwork, int* info);
void zgesvd_(const char* jobu, const char* jobvt, const int* m, const int* n, std::complex<double>* a, const int* lda,
             double* s, std::complex<double>* u, const int* ldu, std::complex<double>* vt, const int* ldvt,
             std::complex<double>* work, const int* lwork, double* rwork, int* info);
}

namespace jaxmg::testing {

// Singular values in descending order, by LAPACK.
template <class T>
std::vector<double> lapack_singular_values(const Matrix<T>& a) {
  auto wide = widened(a);
  const int n = static_cast<int>(a.rows()), lda = std::max(1, n), lwork = 64 * lda;
  std::vector<double> s(static_cast<std::size_t>(n)), rwork(static_cast<std::size_t>(5 * lda));
  std::vector<Wide<T>> work(static_cast<std::size_t>(lwork));
  int info = 0;
  if constexpr (is_complex<T>) {
    zgesvd_("N", "N", &n, &n, wide.data(), &lda, s.data(), nullptr, &lda, nullptr, &lda, work.data(), &lwork,
            rwork.data(), &info);
  } else {
    dgesvd_("N", "N", &n, &n, wide.data(), &lda, s.data(), nullptr, &lda, nullptr, &lda, work.data(), &lwork, &info);
  }
  EXPECT_EQ(info, 0);
  return s;
}

// U diag(s) V^H for random unitary U and V, each a product of two reflectors.
template <class T>
Matrix<T> with_singular_values(const std::vector<double>& s, unsigned seed) {
  const auto n = static_cast<std::int64_t>(s.size());
  Matrix<Wide<T>> a(n, n);
  for (std::int64_t i = 0; i < n; ++i) a(i, i) = s[static_cast<std::size_t>(i)];
  // Reflectors I - 2 v v^H, two from each side.
  for (unsigned k = 0; k < 4; ++k) {
    auto v = random_matrix<Wide<T>>(n, 1, seed + k);
    const double length = frobenius(v);
    for (std::int64_t i = 0; i < n; ++i) v(i, 0) /= length;
    for (std::int64_t j = 0; j < n; ++j) {
      Wide<T> dot = 0;
      for (std::int64_t i = 0; i < n; ++i) dot += conjugate(v(i, 0)) * (k % 2 == 0 ? a(i, j) : conjugate(a(j, i)));
      for (std::int64_t i = 0; i < n; ++i) {
        const Wide<T> change = 2.0 * v(i, 0) * dot;
        if (k % 2 == 0) {
          a(i, j) -= change;
        } else {
          a(j, i) -= conjugate(change);
        }
      }
    }
  }
  Matrix<T> rounded(n, n);
  for (std::int64_t i = 0; i < n * n; ++i) rounded.data()[i] = static_cast<T>(a.data()[i]);
  return rounded;
}

template <class T>
Matrix<T> elementwise(std::int64_t n, const std::function<double(std::int64_t, std::int64_t)>& element) {
  Matrix<T> a(n, n);
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < n; ++i) a(i, j) = make_scalar<T>(element(i, j), 0);
  }
  return a;
}

// One of each class of hard matrices, all in the middle of the range of numbers.
template <class T>
Named<T> svd_matrices(std::int64_t n) {
  const double eps = std::numeric_limits<Real<T>>::epsilon();
  const double steps = static_cast<double>(std::max<std::int64_t>(1, n - 1));
  const auto spectrum = [&](const std::function<double(std::int64_t)>& value, unsigned seed) {
    std::vector<double> s;
    for (std::int64_t i = 0; i < n; ++i) s.push_back(value(i));
    return with_singular_values<T>(s, seed);
  };
  const auto conditioned = [&](double exponent, unsigned seed) {
    return spectrum([&](auto i) { return std::pow(10, -exponent * static_cast<double>(i) / steps); }, seed);
  };
  Named<T> all = general_matrices<T>(n);
  all.emplace_back("condition 1e2", conditioned(2, 31));
  all.emplace_back("condition 1e8", conditioned(8, 32));
  all.emplace_back("condition 1e16", conditioned(16, 33));
  all.emplace_back("two clusters", spectrum([&](auto i) { return i < n / 2 ? 1 + eps * i : 1e-8; }, 34));
  all.emplace_back("rank one", spectrum([](auto i) { return i == 0 ? 3.0 : 0.0; }, 35));
  all.emplace_back("ones", elementwise<T>(n, [](auto, auto) { return 1; }));
  all.emplace_back("numerical rank", spectrum([&](auto i) { return 3 * i < n ? 1.0 : eps * eps; }, 36));
  auto holes = random_matrix<T>(n, n, 37);
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < n; ++i) {
      if (i % 3 == 1 || j % 4 == 2) holes(i, j) = T(0);
    }
  }
  all.emplace_back("zero rows and columns", holes);
  all.emplace_back("e1 e2^T", elementwise<T>(n, [&](auto i, auto j) { return i == 0 && j == n - 1 ? 1 : 0; }));
  all.emplace_back("identity", identity<T>(n));
  all.emplace_back("zero", Matrix<T>(n, n));
  all.emplace_back("repeated", spectrum([](auto i) { return i % 2 == 0 ? 1.0 : 2.0; }, 38));
  all.emplace_back("Hilbert", elementwise<T>(n, [](auto i, auto j) { return 1.0 / static_cast<double>(i + j + 1); }));
  all.emplace_back("Kahan", elementwise<T>(n, [](auto i, auto j) {
                     return i > j ? 0.0
                                  : std::pow(std::sin(1.2), static_cast<double>(i)) * (i == j ? 1 : -std::cos(1.2));
                   }));
  all.emplace_back("smooth kernel", kernel<T>(n, static_cast<double>(n) / 4 + 1, 0));
  auto triangle = random_matrix<T>(n, n, 39);
  all.emplace_back("triangular", lower_triangle(triangle));
  triangle(n - 1, 0) = T(static_cast<Real<T>>(1e10));
  all.emplace_back("one huge entry", triangle);
  return all;
}

}  // namespace jaxmg::testing
