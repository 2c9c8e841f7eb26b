// Hermitian test matrices for eigensolvers, ordinary and notoriously hard ones, and their eigenvalues by LAPACK.
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "matrices.h"
#include "residuals.h"

extern "C" {
void dsyev_(const char* jobz, const char* uplo, const int* n, double* a, const int* lda, double* w, double* work,
            const int* lwork, int* info);
void zheev_(const char* jobz, const char* uplo, const int* n, std::complex<double>* a, const int* lda, double* w,
            std::complex<double>* work, const int* lwork, double* rwork, int* info);
}

namespace jaxmg::testing {

// Fills the upper triangle from the lower, and removes imaginary parts from the diagonal.
template <class T>
Matrix<T> mirrored(Matrix<T> a) {
  for (std::int64_t j = 0; j < a.columns(); ++j) {
    a(j, j) = T(std::real(a(j, j)));
    for (std::int64_t i = j + 1; i < a.rows(); ++i) a(j, i) = conjugate(a(i, j));
  }
  return a;
}

template <class T>
Matrix<T> random_hermitian(std::int64_t n, unsigned seed) {
  return mirrored(random_matrix<T>(n, n, seed));
}

template <class T>
Matrix<T> identity(std::int64_t n) {
  Matrix<T> a(n, n);
  for (std::int64_t i = 0; i < n; ++i) a(i, i) = T(1);
  return a;
}

// Q diag(w) Q^H with Q a product of two random reflectors I - 2 u u^H, rounded from double precision.
template <class T>
Matrix<T> with_spectrum(const std::vector<double>& w, unsigned seed) {
  const auto n = static_cast<std::int64_t>(w.size());
  Matrix<Wide<T>> a(n, n);
  for (std::int64_t i = 0; i < n; ++i) a(i, i) = w[static_cast<std::size_t>(i)];
  for (unsigned k = 0; k < 2; ++k) {
    auto u = random_matrix<Wide<T>>(n, 1, seed + k);
    const double length = frobenius(u);
    for (std::int64_t i = 0; i < n; ++i) u(i, 0) /= length;
    // (I - 2 u u^H) A (I - 2 u u^H) = A - u v^H - v u^H, v = 2 (A u - (u^H A u) u).
    Matrix<Wide<T>> v(n, 1);
    gemm<Wide<T>>(2.0, a, Op::none, u, v);
    Wide<T> uv = 0;
    for (std::int64_t i = 0; i < n; ++i) uv += conjugate(u(i, 0)) * v(i, 0);
    for (std::int64_t i = 0; i < n; ++i) v(i, 0) -= uv * u(i, 0);
    gemm<Wide<T>>(-1.0, u, Op::conj_transpose, v, a);
    gemm<Wide<T>>(-1.0, v, Op::conj_transpose, u, a);
  }
  Matrix<T> rounded(n, n);
  for (std::int64_t i = 0; i < n * n; ++i) {
    if constexpr (is_complex<T>) {
      rounded.data()[i] = T(a.data()[i]);
    } else {
      rounded.data()[i] = static_cast<T>(a.data()[i]);
    }
  }
  return mirrored(rounded);
}

// The real symmetric tridiagonal matrix with these entries.
template <class T>
Matrix<T> tridiagonal(const std::vector<double>& d, const std::vector<double>& e) {
  const auto n = static_cast<std::int64_t>(d.size());
  Matrix<T> a(n, n);
  for (std::int64_t i = 0; i < n; ++i) {
    a(i, i) = make_scalar<T>(d[static_cast<std::size_t>(i)], 0);
    if (i + 1 < n) a(i + 1, i) = a(i, i + 1) = make_scalar<T>(e[static_cast<std::size_t>(i)], 0);
  }
  return a;
}

// Wilkinson's W+ of odd order m, repeated along the diagonal and glued by `glue`.
template <class T>
Matrix<T> glued_wilkinson(std::int64_t n, std::int64_t m, double glue) {
  std::vector<double> d, e;
  for (std::int64_t i = 0; i < n; ++i) {
    d.push_back(std::abs(static_cast<double>(i % m - m / 2)));
    e.push_back(i % m == m - 1 ? glue : 1.0);
  }
  return tridiagonal<T>(d, e);
}

template <class T>
struct NamedMatrix {
  std::string name;
  Matrix<T> a;
};

// All test matrices of order n; none of them needs scaling.
template <class T>
std::vector<NamedMatrix<T>> hard_matrices(std::int64_t n) {
  const auto spectrum = [&](const std::function<double(std::int64_t)>& eigenvalue, unsigned seed) {
    std::vector<double> w;
    for (std::int64_t i = 0; i < n; ++i) w.push_back(eigenvalue(i));
    return with_spectrum<T>(w, seed);
  };
  const double eps = std::numeric_limits<Real<T>>::epsilon();
  const double steps = static_cast<double>(std::max<std::int64_t>(1, n - 1));
  std::vector<NamedMatrix<T>> all;
  all.push_back({"random", random_hermitian<T>(n, 1)});
  all.push_back({"graded spectrum", spectrum([&](auto i) { return std::pow(10, -12 + 24 * i / steps); }, 2)});
  auto graded = random_hermitian<T>(n, 3);
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < n; ++i) {
      graded(i, j) *= static_cast<Real<T>>(std::pow(10, 12 * static_cast<double>(i + j - n) / (2 * steps)));
    }
  }
  all.push_back({"graded entries", graded});
  all.push_back({"one cluster", spectrum([&](auto i) { return 1 + eps * static_cast<double>(i); }, 4)});
  all.push_back({"three clusters", spectrum([&](auto i) { return 1 + i % 3 + eps * static_cast<double>(i); }, 5)});
  all.push_back({"repeated", spectrum([](auto i) { return i % 2 == 0 ? -1.0 : 2.0; }, 6)});
  all.push_back({"rank one", spectrum([](auto i) { return i == 0 ? 3.0 : 0.0; }, 7)});
  all.push_back({"half rank", spectrum([&](auto i) { return 2 * i < n ? 1.0 + static_cast<double>(i) : 0.0; }, 8)});
  Matrix<T> ones(n, n, T(1));
  all.push_back({"ones", ones});
  all.push_back({"Wilkinson", glued_wilkinson<T>(n, n | 1, 1)});
  all.push_back({"glued Wilkinson", glued_wilkinson<T>(n, 21, std::sqrt(eps))});
  all.push_back({"(1, 2, 1)", glued_wilkinson<T>(n, 1, 1)});
  for (std::int64_t i = 0; i < n; ++i) all.back().a(i, i) = T(2);
  all.push_back({"zero", Matrix<T>(n, n)});
  all.push_back({"identity", identity<T>(n)});
  Matrix<T> diagonal(n, n);
  for (std::int64_t i = 0; i < n; ++i) diagonal(i, i) = T(static_cast<Real<T>>(i * 7 % n - n / 2));
  all.push_back({"diagonal", diagonal});
  auto banded = random_hermitian<T>(n, 9);
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < n; ++i) {
      if (std::abs(i - j) > 3) banded(i, j) = T(0);
    }
  }
  all.push_back({"banded", banded});
  auto huge = random_hermitian<T>(n, 10);
  huge(n - 1, 0) = huge(0, n - 1) = T(static_cast<Real<T>>(1e10));
  if (n == 1) huge(0, 0) = T(static_cast<Real<T>>(1e10));
  all.push_back({"one huge entry", huge});
  auto holes = random_hermitian<T>(n, 11);  // whole panels of zeros, and of rank one
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < n; ++i) {
      if (std::min(i, j) % 16 < 8) holes(i, j) = i == j ? T(1) : T(0);
    }
  }
  all.push_back({"holes", holes});
  return all;
}

// Eigenvalues in ascending order, by LAPACK.
template <class T>
std::vector<double> lapack_eigenvalues(const Matrix<T>& a) {
  auto wide = widened(a);
  const int n = static_cast<int>(a.rows()), lda = std::max(1, n), lwork = 64 * lda;
  std::vector<double> w(static_cast<std::size_t>(n)), rwork(static_cast<std::size_t>(3 * lda));
  std::vector<Wide<T>> work(static_cast<std::size_t>(lwork));
  int info = 0;
  if constexpr (is_complex<T>) {
    zheev_("N", "L", &n, wide.data(), &lda, w.data(), work.data(), &lwork, rwork.data(), &info);
  } else {
    dsyev_("N", "L", &n, wide.data(), &lda, w.data(), work.data(), &lwork, &info);
  }
  EXPECT_EQ(info, 0);
  return w;
}

}  // namespace jaxmg::testing
