// Properties of the QR factorisation and of the routines that read its factor, for any engine.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "algorithms/qr/geqrf_panel.h"
#include "general.h"
#include "gtest/gtest.h"
#include "matrices.h"
#include "qr_factors.h"
#include "residuals.h"
#include "typed.h"

namespace jaxmg::testing {

// The leading m x n block of a square matrix.
template <class T>
Matrix<T> leading_block(const Matrix<T>& a, std::int64_t m, std::int64_t n) {
  Matrix<T> b(m, n);
  for (std::int64_t j = 0; j < n; ++j) std::copy_n(&a(0, j), m, &b(0, j));
  return b;
}

template <class T>
Matrix<T> scaled(Matrix<T> a, Real<T> factor) {
  for (std::int64_t i = 0; i < a.rows() * a.columns(); ++i) a.data()[i] *= factor;
  return a;
}

// sin(theta)^i on the diagonal of rows -cos(theta): nearly rank-deficient without a small diagonal element.
template <class T>
Matrix<T> kahan(std::int64_t n) {
  Matrix<T> a(n, n);
  for (std::int64_t i = 0; i < n; ++i) {
    const double row = std::pow(std::sin(1.2), static_cast<double>(i));
    for (std::int64_t j = i; j < n; ++j) {
      a(i, j) = T(static_cast<Real<T>>(i == j ? row : -std::cos(1.2) * row));
    }
  }
  return a;
}

template <class T>
Matrix<T> hilbert(std::int64_t n) {
  Matrix<T> a(n, n);
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < n; ++i) a(i, j) = T(static_cast<Real<T>>(1.0 / static_cast<double>(i + j + 1)));
  }
  return a;
}

// Matrices on which orthogonality is lost by methods that form Gram matrices.
template <class T>
Named<T> hard_for_qr(std::int64_t m, std::int64_t n) {
  const std::int64_t k = std::max(m, n);
  const auto large = static_cast<Real<T>>(sizeof(Real<T>) == 4 ? 1e30 : 1e290);
  Named<T> all = general_matrices<T>(k);
  all.emplace_back("zero", Matrix<T>(k, k));
  all.emplace_back("ones", Matrix<T>(k, k, T(1)));
  all.emplace_back("Kahan", kahan<T>(k));
  all.emplace_back("Hilbert", hilbert<T>(k));
  all.emplace_back("graded columns", transposed(graded<T>(k, 12, 31)));
  all.emplace_back("near overflow", scaled(random_matrix<T>(k, k, 32), large));
  all.emplace_back("near underflow", scaled(random_matrix<T>(k, k, 33), 1 / large));
  for (auto& [name, a] : all) a = leading_block(a, m, n);
  return all;
}

// R of LAPACK.
template <class T>
Matrix<T> lapack_r(Matrix<T> a) {
  lapack_geqrf(a);
  Matrix<T> r(std::min(a.rows(), a.columns()), a.columns());
  for (std::int64_t j = 0; j < r.columns(); ++j) {
    for (std::int64_t i = 0; i <= std::min(j, r.rows() - 1); ++i) r(i, j) = a(i, j);
  }
  return r;
}

// The largest part of an element.
template <class T>
double largest_element(const Matrix<T>& a) {
  double largest = 0;
  for (std::int64_t i = 0; i < a.rows() * a.columns(); ++i) {
    largest = std::max(largest, static_cast<double>(std::abs(a.data()[i])));
  }
  return largest;
}

// qr_error of a matrix scaled to elements of at most 1: norms near the ends of the range over- or underflow.
template <class T>
double scaled_qr_error(const Matrix<T>& a, const Matrix<T>& q, const Matrix<T>& r) {
  const double largest = largest_element(a);
  const auto unit = static_cast<Real<T>>(largest > 0 ? 1 / largest : 1);
  return qr_error(scaled(a, unit), q, scaled(r, unit));
}

template <class Parameter>
class Geqrf : public ::testing::Test {};

TYPED_TEST_SUITE_P(Geqrf);

TYPED_TEST_P(Geqrf, FactorsMultiplyToTheMatrixAndQIsOrthogonal) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  for (const QrShape& shape : qr_shapes<Ranks>()) {
    SCOPED_TRACE(shape);
    const auto a = random_matrix<T>(shape.m, shape.n, 1);
    const auto factor = geqrf<Ranks>(a, shape);
    for (const std::int32_t info : factor.info) EXPECT_EQ(info, 0);
    const auto q = orgqr(Ranks(shape.ranks), factor, shape), r = upper(Ranks(shape.ranks), factor, shape);
    EXPECT_LE(qr_error(a, q, r), 30);
    EXPECT_LE(orthogonality(q, shape.larger()), 30);
    for (std::int64_t j = 0; j < r.columns(); ++j) {
      for (std::int64_t i = j + 1; i < r.rows(); ++i) EXPECT_EQ(r(i, j), T(0));
    }
  }
}

TYPED_TEST_P(Geqrf, RAgreesWithLapack) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  for (const QrShape& shape : qr_shapes<Ranks>()) {
    SCOPED_TRACE(shape);
    const auto a = random_matrix<T>(shape.m, shape.n, 2);
    const auto r = upper(Ranks(shape.ranks), geqrf<Ranks>(a, shape), shape);
    EXPECT_LE(difference(r, lapack_r(a)), 1e4);  // errors of R grow with the condition number
  }
}

TYPED_TEST_P(Geqrf, HardMatricesAreFactored) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  for (const QrShape& shape : few_qr_shapes<Ranks>()) {
    for (const auto& [name, a] : hard_for_qr<T>(shape.m, shape.n)) {
      SCOPED_TRACE(::testing::Message() << shape << ", " << name);
      const auto factor = geqrf<Ranks>(a, shape);
      const auto q = orgqr(Ranks(shape.ranks), factor, shape), r = upper(Ranks(shape.ranks), factor, shape);
      EXPECT_LE(orthogonality(q, shape.larger()), 30);
      EXPECT_LE(scaled_qr_error(a, q, r), 30);
    }
  }
}

// A power of two changes R by just that power, and nothing else: norms near the ends of the range are brought near 1.
TYPED_TEST_P(Geqrf, ScalingChangesOnlyR) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  using R = Real<T>;
  for (const QrShape& shape : few_qr_shapes<Ranks>()) {
    const auto a = random_matrix<T>(shape.m, shape.n, 12);
    const auto factor = geqrf<Ranks>(a, shape);
    const auto r = upper(Ranks(shape.ranks), factor, shape);
    for (const int exponent : {-1, 1}) {
      const R power = std::ldexp(R(1), exponent * (sizeof(R) == 4 ? 90 : 960));
      SCOPED_TRACE(::testing::Message() << shape << ", factor " << power);
      const auto other = geqrf<Ranks>(scaled(a, power), shape);
      EXPECT_EQ(other.factors, factor.factors);
      EXPECT_EQ(orgqr(Ranks(shape.ranks), other, shape), orgqr(Ranks(shape.ranks), factor, shape));
      EXPECT_EQ(upper(Ranks(shape.ranks), other, shape), scaled(r, power));
      EXPECT_EQ(other.info, factor.info);
    }
  }
}

TYPED_TEST_P(Geqrf, ScalingOfTallMatricesChangesOnlyR) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  using R = Real<T>;
  for (const int ranks : {1, 3, 4}) {
    if (!Ranks::available(ranks)) continue;
    const auto a = random_matrix<T>(90, 17, 13);
    const auto found = tsqr(Ranks(ranks), a, 5, 20);
    for (const int exponent : {-1, 1}) {
      const R power = std::ldexp(R(1), exponent * (sizeof(R) == 4 ? 90 : 960));
      SCOPED_TRACE(::testing::Message() << ranks << " ranks, factor " << power);
      const auto other = tsqr(Ranks(ranks), scaled(a, power), 5, 20);
      EXPECT_EQ(other.q, found.q);
      for (const auto& r : other.r) EXPECT_EQ(r, scaled(found.r[0], power));
    }
  }
}

TYPED_TEST_P(Geqrf, QIsAppliedWithoutBeingFormed) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  for (const QrShape& shape : few_qr_shapes<Ranks>()) {
    const auto factor = geqrf<Ranks>(random_matrix<T>(shape.m, shape.n, 3), shape);
    const auto q = adjoint(orgqr(Ranks(shape.ranks), factor, shape));
    for (const bool distributed : {false, true}) {
      for (const std::int64_t nrhs : {1, 7}) {
        SCOPED_TRACE(::testing::Message() << shape << ", " << nrhs << " columns, distributed " << distributed);
        const auto b = random_matrix<T>(shape.m, nrhs, 4);
        const auto whole = [&](const std::vector<Matrix<T>>& parts) {
          if (distributed) return side_by_side(parts, nrhs);
          for (const auto& other : parts) EXPECT_EQ(other, parts[0]);
          return parts[0];
        };
        const auto turned = whole(ormqr(Ranks(shape.ranks), factor, b, shape, true, distributed));
        Matrix<T> known(q.rows(), nrhs);
        gemm(T(1), q, Op::none, b, known);
        EXPECT_LE(difference(leading_block(turned, q.rows(), nrhs), known), 30);
        EXPECT_LE(difference(whole(ormqr(Ranks(shape.ranks), factor, turned, shape, false, distributed)), b), 30);
      }
    }
  }
}

TYPED_TEST_P(Geqrf, SystemsWithRAreSolved) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  for (const QrShape& shape : few_qr_shapes<Ranks>()) {
    if (shape.m < shape.n) continue;
    const auto factor = geqrf<Ranks>(random_matrix<T>(shape.m, shape.n, 5), shape);
    const auto r = upper(Ranks(shape.ranks), factor, shape);
    for (const bool distributed : {false, true}) {
      for (const bool turned : {false, true}) {
        SCOPED_TRACE(::testing::Message() << shape << ", adjoint " << turned << ", distributed " << distributed);
        const auto b = random_matrix<T>(shape.n, 5, 6);
        const auto parts = rtrs(Ranks(shape.ranks), factor, b, shape, turned, distributed);
        EXPECT_LE(solve_error(turned ? adjoint(r) : r, distributed ? side_by_side(parts, 5) : parts[0], b), 30);
      }
    }
  }
}

// The number of the first zero on the diagonal of R. Zero columns have exactly zero elements of R.
TYPED_TEST_P(Geqrf, InfoIsTheFirstZeroOnTheDiagonal) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  for (const QrShape& shape : few_qr_shapes<Ranks>()) {
    for (const std::int64_t zero : {std::int64_t{0}, shape.reflectors() / 2, shape.reflectors() - 1}) {
      SCOPED_TRACE(::testing::Message() << shape << ", column " << zero);
      auto a = random_matrix<T>(shape.m, shape.n, 7);
      std::fill_n(&a(0, zero), shape.m, T(0));
      for (const std::int32_t info : geqrf<Ranks>(a, shape).info) EXPECT_EQ(info, zero + 1);
    }
  }
}

TYPED_TEST_P(Geqrf, NanPropagates) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  for (const QrShape& shape : few_qr_shapes<Ranks>()) {
    SCOPED_TRACE(shape);
    auto a = random_matrix<T>(shape.m, shape.n, 8);
    a(shape.m - 1, shape.n / 2) = not_a_number<T>();
    const auto r = upper(Ranks(shape.ranks), geqrf<Ranks>(a, shape), shape);
    EXPECT_TRUE(std::isnan(std::abs(r(0, shape.n / 2))));
  }
}

// A panel with R and V in place, and T; `leaf` columns are factored at once.
template <class Ranks, class T>
std::pair<Matrix<T>, Matrix<T>> factored_panel(const Matrix<T>& panel, std::int64_t leaf) {
  const std::int64_t m = panel.rows(), n = panel.columns();
  Ranks ranks(1);
  Arena measure;
  GeqrfPanelWorkspace<T>(measure, n, leaf);
  auto a = ranks.template matrix<T>(m, n), t = ranks.template matrix<T>(n, n);
  auto workspace = ranks.template matrix<std::byte>(measure.used(), 1);
  upload(a, std::vector<Matrix<T>>{panel});
  ranks.run([&](auto& engine) {
    Arena arena = arena_over(workspace.view(0));
    GeqrfPanelWorkspace<T> w(arena, n, leaf);
    GeqrfPanel<T, typename Ranks::Engine>(engine, Lane::panel, a.view(0), t.view(0), w).run();
    engine.join();
  });
  return {a.download(0), t.download(0)};
}

// Panels are factored in leaves, whose T are merged.
TYPED_TEST_P(Geqrf, PanelsMayBeFactoredInLeaves) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  for (const auto& [m, n, leaf] : {std::tuple{40, 16, 4}, {16, 16, 3}, {75, 23, 5}, {9, 9, 1}}) {
    SCOPED_TRACE(::testing::Message() << m << " x " << n << ", leaves of " << leaf);
    const auto panel = random_matrix<T>(m, n, 9);
    const auto whole = factored_panel<Ranks>(panel, n), parts = factored_panel<Ranks>(panel, leaf);
    EXPECT_LE(difference(parts.first, whole.first), 1e3);
    EXPECT_LE(difference(parts.second, whole.second), 1e3);
  }
}

// The first columns of I - V T V^H.
template <class T>
Matrix<T> columns_of_q(const Matrix<T>& factored, const Matrix<T>& t) {
  const std::int64_t m = factored.rows(), n = factored.columns();
  Matrix<T> v = factored, top(n, n), products(n, n), q(m, n);
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i <= j; ++i) v(i, j) = T(i == j ? 1 : 0);
    for (std::int64_t i = 0; i < n; ++i) top(i, j) = v(i, j);
    q(j, j) = T(1);
  }
  gemm(T(1), t, Op::conj_transpose, top, products);
  gemm(T(-1), v, Op::none, products, q);
  return q;
}

// Gram matrices of such panels have no Cholesky factor, or one whose Q is not orthonormal.
TYPED_TEST_P(Geqrf, HardPanelsAreFactored) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  for (const auto& [m, n] : {std::pair{40, 40}, {90, 64}}) {
    auto panels = hard_for_qr<T>(m, n);
    auto twice = random_matrix<T>(m, n, 14);
    for (std::int64_t j = n / 2; j < n; ++j) std::copy_n(&twice(0, j - n / 2), m, &twice(0, j));
    panels.emplace_back("half the columns twice", twice);
    for (const auto& [name, a] : panels) {
      if (std::string(name).starts_with("near ")) continue;  // geqrf scales such matrices before
      SCOPED_TRACE(::testing::Message() << m << " x " << n << ", " << name);
      const auto [factored, t] = factored_panel<Ranks>(a, n);
      const auto q = columns_of_q(factored, t);
      EXPECT_LE(orthogonality(q, m), 30);
      Matrix<T> r(n, n);
      for (std::int64_t j = 0; j < n; ++j) std::copy_n(&factored(0, j), j + 1, &r(0, j));
      EXPECT_LE(qr_error(a, q, r), 30);
    }
  }
}

inline std::vector<std::pair<std::int64_t, std::int64_t>> tall_sizes() {
  return {{1, 1}, {9, 1}, {41, 3}, {60, 13}, {90, 40}, {30, 30}};
}

// Also with R of the signs that LAPACK gives it.
TYPED_TEST_P(Geqrf, TallMatricesAreFactoredByRows) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  for (const int ranks : {1, 2, 3, 4, 8}) {
    if (!Ranks::available(ranks)) continue;
    for (const auto& [m, n] : tall_sizes()) {
      for (const std::int64_t piece : {std::int64_t{7}, m}) {
        SCOPED_TRACE(::testing::Message() << m << " x " << n << " on " << ranks << " ranks, pieces of " << piece);
        const auto a = random_matrix<T>(m, n, 10);
        const auto found = tsqr(Ranks(ranks), a, 4, piece);
        EXPECT_LE(qr_error(a, found.q, found.r[0]), 30);
        EXPECT_LE(orthogonality(found.q, m), 30);
        EXPECT_LE(difference(found.r[0], lapack_r(a)), 1e4);
        const auto alone = tsqr(Ranks(ranks), a, 4, piece, false);
        for (int rank = 0; rank < ranks; ++rank) {
          EXPECT_EQ(found.r[static_cast<std::size_t>(rank)], found.r[0]);
          EXPECT_EQ(alone.r[static_cast<std::size_t>(rank)], found.r[0]);
        }
      }
    }
  }
}

TYPED_TEST_P(Geqrf, HardTallMatricesAreFactoredByRows) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  for (const int ranks : {1, 3, 4}) {
    if (!Ranks::available(ranks)) continue;
    for (const auto& [name, a] : hard_for_qr<T>(90, 17)) {
      SCOPED_TRACE(::testing::Message() << name << " on " << ranks << " ranks");
      const auto found = tsqr(Ranks(ranks), a, 5, 20);
      EXPECT_LE(scaled_qr_error(a, found.q, found.r[0]), 30);
      EXPECT_LE(orthogonality(found.q, 90), 30);
    }
    auto a = random_matrix<T>(90, 17, 11);
    a(50, 3) = not_a_number<T>();
    EXPECT_TRUE(std::isnan(std::abs(tsqr(Ranks(ranks), a, 5, 20).r[0](0, 3))));
  }
}

// ||R^-H A^H A R^-1 - I||: what a step of the seminormal equations multiplies errors by, at most.
template <class T>
double contraction(const Matrix<T>& a, const Matrix<T>& r) {
  auto x = widened(a);
  const auto upper = widened(r);
  const std::int64_t m = a.rows(), n = a.columns();
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t k = 0; k < j; ++k) x(i, j) -= x(i, k) * upper(k, j);
      x(i, j) /= upper(j, j);
    }
  }
  double sum = 0;
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t k = 0; k < n; ++k) {
      Wide<T> product = j == k ? -1.0 : 0.0;
      for (std::int64_t i = 0; i < m; ++i) product += conjugate(x(i, j)) * x(i, k);
      sum += std::norm(product);
    }
  }
  return std::sqrt(sum);
}

// Well-conditioned matrices are kept, and the augmented system is solved; others get Q and R.
TYPED_TEST_P(Geqrf, LeastSquaresKeepTheMatrixWhereAGramMatrixSuffices) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  using R = Real<T>;
  for (const int ranks : {1, 2, 3, 4, 8}) {
    if (!Ranks::available(ranks)) continue;
    SCOPED_TRACE(::testing::Message() << ranks << " ranks");
    for (const auto& [m, n] : tall_sizes()) {
      if (m <= 2 * n) continue;
      for (const int exponent : {0, 20, -20}) {
        SCOPED_TRACE(::testing::Message() << m << " x " << n << ", 2^" << exponent);
        const auto a = scaled(random_matrix<T>(m, n, 12), std::ldexp(R(1), exponent));
        const auto w = random_matrix<T>(m, 2, 13), v = scaled(random_matrix<T>(n, 2, 14), std::ldexp(R(1), exponent));
        const auto found = tall_least_squares(Ranks(ranks), a, w, v, 4, 20);
        for (const int kept : found.kept) EXPECT_TRUE(kept);
        for (const auto& r : found.factor.r) EXPECT_EQ(r, found.factor.r[0]);
        for (const auto& x : found.x) EXPECT_EQ(x, found.x[0]);
        EXPECT_EQ(found.factor.q, a);
        EXPECT_LE(contraction(a, found.factor.r[0]), 0.25);
        EXPECT_LE(augmented_error(a, w, v, found.rest, found.x[0]), 30);
      }
    }
  }
}

TYPED_TEST_P(Geqrf, LeastSquaresOfHardMatrices) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  const std::int64_t m = 600, n = 24;
  Named<T> all = hard_for_qr<T>(90, 17);
  for (const double condition : {1.0, 10.0, 30.0, 1e2, 1e3, 1e4, 1e6}) {
    all.emplace_back("condition " + std::to_string(condition), of_condition<T>(m, n, condition));
  }
  all.emplace_back("many rows", of_condition<T>(20011, 8, 3));
  auto a = random_matrix<T>(m, n, 36);
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < m; ++i) a(i, j) *= static_cast<Real<T>>(std::pow(10, -static_cast<double>(j) / 4));
  }
  all.emplace_back("columns of different size", a);
  a(m - 1, 3) = T(static_cast<Real<T>>(1e7));
  all.emplace_back("one large element", a);
  for (const int ranks : {1, 3}) {
    if (!Ranks::available(ranks)) continue;
    int kept = 0, factored = 0;
    for (const auto& [name, a] : all) {
      for (const std::int64_t count : {1, 3, 9}) {
        if (count > 1 && ranks != 3) continue;
        SCOPED_TRACE(::testing::Message() << name << " on " << ranks << " ranks, " << count << " right-hand sides");
        auto w = random_matrix<T>(a.rows(), count, 37);
        if (count == 3) std::fill_n(&w(0, 1), a.rows(), T(0));
        const Matrix<T> v(a.columns(), count);
        const auto found = tall_least_squares(Ranks(ranks), a, w, v, 5, 200);
        if (found.kept[0]) {
          EXPECT_LE(contraction(a, found.factor.r[0]), 0.25);
          EXPECT_LE(augmented_error(a, w, v, found.rest, found.x[0]), 30);
          ++kept;
        } else {
          EXPECT_LE(scaled_qr_error(a, found.factor.q, found.factor.r[0]), 30);
          EXPECT_LE(orthogonality(found.factor.q, a.rows()), 30);
          ++factored;
        }
      }
    }
    EXPECT_GT(kept, 4);
    EXPECT_GT(factored, 4);
  }
  a(50, 3) = not_a_number<T>();
  const auto found = tall_least_squares(Ranks(1), a, Matrix<T>(m, 1), Matrix<T>(n, 1), 5, 600);
  EXPECT_FALSE(found.kept[0]);
  EXPECT_TRUE(std::isnan(std::abs(found.factor.r[0](3, 3))));
}

// Of random and of consistent right-hand sides, and of zero, by Gram matrices and by reflectors.
TYPED_TEST_P(Geqrf, LeastSquaresAndTheirResiduals) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  using R = Real<T>;
  for (const int ranks : {1, 2, 3, 4, 8}) {
    if (!Ranks::available(ranks)) continue;
    for (const auto& [m, n] : tall_sizes()) {
      if (m <= 2 * n) continue;
      for (const double condition : {1.0, 30.0, 1e3, 1e6}) {
        for (const std::int64_t count : {1, 2, 9}) {
          if ((count > 1 || condition > 1) && ranks != 3) continue;
          SCOPED_TRACE(::testing::Message() << ranks << " ranks, " << m << " x " << n << ", condition " << condition
                                            << ", " << count << " right-hand sides");
          const auto a = condition > 1 ? of_condition<T>(m, n, condition) : random_matrix<T>(m, n, 12);
          auto consistent = Matrix<T>(m, count), mixed = random_matrix<T>(m, count, 13);
          gemm<T>(T(1), a, Op::none, random_matrix<T>(n, count, 14), consistent);
          if (count > 1) std::copy_n(&consistent(0, 0), m, &mixed(0, 1));
          if (count > 2) std::fill_n(&mixed(0, 2), m, T(0));
          for (const auto& w : {mixed, consistent, scaled(mixed, std::ldexp(R(1), -20)), Matrix<T>(m, count)}) {
            const auto found = solve_tall(Ranks(ranks), a, w, 4, 20);
            for (const auto& x : found.x) EXPECT_EQ(x, found.x[0]);
            for (const auto& squares : found.squares) EXPECT_EQ(squares, found.squares[0]);
            EXPECT_LE(least_squares_error(a, w, found.x[0], found.squares[0]), 30);
          }
        }
      }
    }
  }
}

// A right-hand side that is not finite does not change the solutions for others.
TYPED_TEST_P(Geqrf, RightHandSidesOfLeastSquaresThatAreNotFinite) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  const std::int64_t m = 60, n = 7;
  const auto a = random_matrix<T>(m, n, 12);
  for (const T wrong : {not_a_number<T>(), T(std::numeric_limits<Real<T>>::infinity())}) {
    for (const std::int64_t count : {1, 3}) {
      auto w = random_matrix<T>(m, count, 13);
      w(33, 0) = wrong;
      const auto found = solve_tall(Ranks(1), a, w, 4, 20);
      for (std::int64_t j = 0; j < n; ++j) EXPECT_FALSE(std::isfinite(std::abs(found.x[0](j, 0))));
      EXPECT_FALSE(std::isfinite(found.squares[0][0]));
      if (count == 1) continue;
      const auto others = last_columns(found.x[0], count - 1), of_others = last_columns(w, count - 1);
      EXPECT_LE(least_squares_error(a, of_others, others, {found.squares[0].begin() + 1, found.squares[0].end()}), 30);
    }
  }
}

REGISTER_TYPED_TEST_SUITE_P(Geqrf, FactorsMultiplyToTheMatrixAndQIsOrthogonal, RAgreesWithLapack,
                            HardMatricesAreFactored, ScalingChangesOnlyR, ScalingOfTallMatricesChangesOnlyR,
                            QIsAppliedWithoutBeingFormed, SystemsWithRAreSolved, InfoIsTheFirstZeroOnTheDiagonal,
                            NanPropagates, PanelsMayBeFactoredInLeaves, HardPanelsAreFactored,
                            TallMatricesAreFactoredByRows, HardTallMatricesAreFactoredByRows,
                            LeastSquaresKeepTheMatrixWhereAGramMatrixSuffices, LeastSquaresOfHardMatrices,
                            LeastSquaresAndTheirResiduals, RightHandSidesOfLeastSquaresThatAreNotFinite);

}  // namespace jaxmg::testing
