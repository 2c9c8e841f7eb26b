// Properties of the singular value and polar decompositions, for any kind of ranks.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "eigenproblems.h"
#include "gtest/gtest.h"
#include "matrices.h"
#include "residuals.h"
#include "singular_values.h"
#include "svd_matrices.h"
#include "typed.h"

namespace jaxmg::testing {

template <class Parameter>
class SvdTest : public ::testing::Test {
 protected:
  using Ranks = typename Parameter::Ranks;
  using T = typename Parameter::Scalar;
  static constexpr double threshold = 30;

  // The narrowest band that the engine takes, except 1.
  static std::int64_t bandwidth() {
    const auto all = bandwidths<typename Ranks::Engine, T>();
    return all.size() > 3 ? all[3] : all.front();
  }
  static CallOf<routines::Gesvd, T> call(std::int64_t n, int ranks, bool vectors) {
    const std::int64_t tile = std::min<std::int64_t>(bandwidth(), shard_of(n, ranks));
    return gesvd_call<T>(n, ranks, ranks == 1 ? n : tile, bandwidth(), vectors);
  }

  static Singular<T> decompose(const Matrix<T>& m, const CallOf<routines::Gesvd, T>& call) {
    Ranks ranks(static_cast<int>(call.problem.ranks));
    return testing::decompose(ranks, m, call, call.bytes());
  }
  static PolarFactors<T> polar_factors(const Matrix<T>& m, int size, std::int64_t tile, bool left,
                                       bool factor_h = true) {
    Ranks ranks(size);
    const auto call = polar_call<T>(m.rows(), size, tile, left, factor_h);
    return testing::polar_factors(ranks, m, call, call.bytes());
  }

  static void check(const Matrix<T>& m, int ranks) {
    const std::int64_t n = m.rows();
    const auto expected = lapack_singular_values(m);
    const double most = threshold * n_eps<T>(n) * norm_or_least(m);
    for (const bool vectors : {true, false}) {
      SCOPED_TRACE(vectors ? "with vectors" : "values alone");
      const auto found = decompose(m, call(n, ranks, vectors));
      for (const std::int32_t status : found.status) ASSERT_EQ(status, 0);
      for (const auto& s : found.s) ASSERT_EQ(s, found.s[0]) << "ranks differ";
      const auto s = values(found.s[0]);
      EXPECT_TRUE(std::is_sorted(s.rbegin(), s.rend()));
      for (std::size_t i = 0; i < s.size(); ++i) {
        ASSERT_GE(s[i], 0);
        ASSERT_LE(std::abs(s[i] - expected[i]), most) << "singular value " << i;
      }
      if (!vectors) continue;
      EXPECT_LE(residual(m, found), threshold);
      EXPECT_LE(orthogonality(found.u), threshold);
      EXPECT_LE(orthogonality(found.v), threshold);
    }
  }

  // The product of the factors, and H semidefinite.
  static void check_polar(const Matrix<T>& m, int ranks, bool left) {
    const std::int64_t n = m.rows();
    const auto found = polar_factors(m, ranks, std::min<std::int64_t>(8, shard_of(n, ranks)), left);
    for (const std::int32_t status : found.status) ASSERT_EQ(status, 0);
    EXPECT_LE(orthogonality(found.u), threshold);
    EXPECT_EQ(found.h, mirrored(found.h));
    EXPECT_LE(residual(m, found, left), threshold);
    const auto w = lapack_eigenvalues(found.h);
    EXPECT_GE(*std::min_element(w.begin(), w.end()), -threshold * n_eps<T>(n) * norm_or_least(m));
  }
};

TYPED_TEST_SUITE_P(SvdTest);

TYPED_TEST_P(SvdTest, DecomposesMatricesOfAllShapes) {
  using T = typename TypeParam::Scalar;
  for (const int ranks : {1, 2, 3, 4, 8}) {
    if (!TypeParam::Ranks::available(ranks)) continue;
    for (const std::int64_t n : {1, 2, 3, 5, 17, 65}) {
      SCOPED_TRACE(::testing::Message() << "n = " << n << " on " << ranks << " ranks");
      this->check(random_matrix<T>(n, n, 3), ranks);
      this->check_polar(random_matrix<T>(n, n, 4), ranks, n % 2 == 0);
    }
  }
}

TYPED_TEST_P(SvdTest, DecomposesHardMatrices) {
  using T = typename TypeParam::Scalar;
  int turn = 0;
  for (const auto& [name, m] : svd_matrices<T>(45)) {
    const int ranks = std::vector{3, 4, 1, 2}[static_cast<std::size_t>(turn++ % 4)];
    if (!TypeParam::Ranks::available(ranks)) continue;
    SCOPED_TRACE(::testing::Message() << name << " on " << ranks << " ranks");
    this->check(m, ranks);
    this->check_polar(m, ranks, turn % 8 < 4);
  }
}

// Conditions between n and 10 n, where singular values alone take their own way, also with clusters at either end.
TYPED_TEST_P(SvdTest, DecomposesMatricesOfMiddlingCondition) {
  using T = typename TypeParam::Scalar;
  const std::int64_t n = 40;
  for (const int ranks : {1, 2, 3, 4}) {
    if (!TypeParam::Ranks::available(ranks)) continue;
    const double condition = (1.5 + 2 * ranks) * static_cast<double>(n);
    for (const int kind : {0, 1, 2}) {
      SCOPED_TRACE(::testing::Message() << "condition " << condition << ", kind " << kind << " on " << ranks);
      std::vector<double> s;
      for (std::int64_t i = 0; i < n; ++i) {
        const double share = static_cast<double>(i) / static_cast<double>(n - 1);
        s.push_back(kind == 0 ? std::pow(condition, -share) : (kind == 1 ? i < n - 1 : i == 0) ? 1 : 1 / condition);
      }
      this->check(with_singular_values<T>(s, 11), ranks);
    }
  }
}

// Powers of two multiply the singular values of a matrix in the middle of the range, up to rounding of the least ones.
TYPED_TEST_P(SvdTest, ScalesMatricesThatWouldOverOrUnderflow) {
  using T = typename TypeParam::Scalar;
  using R = Real<T>;
  const std::int64_t n = 33;
  const auto m = random_matrix<T>(n, n, 5);
  const auto expected = lapack_singular_values(m);
  const double most = this->threshold * n_eps<T>(n) * frobenius(m);
  for (const int exponent : {std::numeric_limits<R>::min_exponent + 2, std::numeric_limits<R>::max_exponent - 6}) {
    auto scaled = m;
    for (std::int64_t i = 0; i < n * n; ++i) scaled.data()[i] *= std::ldexp(R(1), exponent);
    for (const bool vectors : {true, false}) {
      const auto found = this->decompose(scaled, this->call(n, 1, vectors));
      ASSERT_EQ(found.status[0], 0);
      for (std::int64_t i = 0; i < n; ++i) {
        const double s = std::ldexp(static_cast<double>(found.s[0](i, 0)), -exponent);
        EXPECT_LE(std::abs(s - expected[static_cast<std::size_t>(i)]), most);
      }
    }
  }
}

TYPED_TEST_P(SvdTest, NonFiniteElementsGiveNan) {
  using T = typename TypeParam::Scalar;
  using R = Real<T>;
  const std::int64_t n = 20;
  for (const R bad : {std::numeric_limits<R>::quiet_NaN(), std::numeric_limits<R>::infinity()}) {
    auto m = random_matrix<T>(n, n, 6);
    m(n / 2, 3) = T(bad);
    const int ranks = TypeParam::Ranks::available(2) ? 2 : 1;
    const auto found = this->decompose(m, this->call(n, ranks, true));
    for (const std::int32_t status : found.status) EXPECT_EQ(status, not_finite);
    for (const auto& s : found.s) EXPECT_TRUE(all_nan(s));
    EXPECT_TRUE(all_nan(found.u));
    EXPECT_TRUE(all_nan(found.v));
    const auto polar = this->polar_factors(m, ranks, 4, false);
    for (const std::int32_t status : polar.status) EXPECT_EQ(status, not_finite);
    EXPECT_TRUE(all_nan(polar.u));
    EXPECT_TRUE(all_nan(polar.h));
  }
}

// All ranks receive the result of a single rank, bitwise; the adjoint form holds the same vectors; the unitary factor
// alone is that with H.
TYPED_TEST_P(SvdTest, OtherFormsHoldTheSameResults) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  const std::int64_t n = 21;
  const auto m = random_matrix<T>(n, n, 7);
  for (const int ranks : {2, 3}) {
    if (!Ranks::available(ranks)) continue;
    const auto single = this->call(n, 1, true);
    auto all = this->call(n, ranks, true);
    all.plan.blocking = single.plan.blocking;
    all.plan.alone = n;
    all.plan.tile = shard_of(n, ranks);
    const auto expected = this->decompose(m, single), found = this->decompose(m, all);
    all.problem.as_columns = true;
    const auto turned = this->decompose(m, all);
    for (const Singular<T>* other : {&found, &turned}) {
      for (const auto& s : other->s) EXPECT_EQ(s, expected.s[0]);
      EXPECT_EQ(other->u, expected.u);
      EXPECT_EQ(other->v, expected.v);
    }
    EXPECT_EQ(this->polar_factors(m, ranks, 4, true, false).u, this->polar_factors(m, ranks, 4, true).u);
  }
}

REGISTER_TYPED_TEST_SUITE_P(SvdTest, DecomposesMatricesOfAllShapes, DecomposesHardMatrices,
                            DecomposesMatricesOfMiddlingCondition, ScalesMatricesThatWouldOverOrUnderflow,
                            NonFiniteElementsGiveNan, OtherFormsHoldTheSameResults);

}  // namespace jaxmg::testing
