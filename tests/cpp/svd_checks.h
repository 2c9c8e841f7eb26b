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
#include "routines/gesvd.h"
#include "routines/polar.h"
#include "solves.h"
#include "svd_matrices.h"
#include "typed.h"

namespace jaxmg::testing {

template <class T>
struct Singular {
  std::vector<Matrix<Real<T>>> s;  // of each rank
  Matrix<T> u, v;                  // left and right singular vectors
  std::vector<std::int32_t> status;
};

template <class T>
CallOf<routines::Gesvd, T> gesvd_call(std::int64_t n, int ranks, std::int64_t tile, std::int64_t b, bool vectors) {
  CallOf<routines::Gesvd, T> call(n, ranks, tile);
  call.problem.vectors = vectors ? n : 0;
  call.plan.depth = 2 * tile;
  call.plan.slots = 2;
  call.plan.largest_potrf = ranks == 1 ? n : call.plan.depth;
  call.plan.blocking = eigen_shape(n, ranks, tile, b, 1).blocking;
  return call;
}

// Singular values and vectors of M, in exactly the workspace that is planned.
template <class T, class Ranks>
Singular<T> decompose(const Matrix<T>& m, const CallOf<routines::Gesvd, T>& call) {
  const int size = static_cast<int>(call.problem.ranks);
  const std::int64_t n = call.problem.n, shard = shard_of(n, size), share = call.problem.vectors > 0 ? shard : 0;
  Ranks ranks(size);
  auto shards = ranks.template matrix<T>(n, shard);
  auto s = ranks.template matrix<Real<T>>(n, 1);
  auto right = ranks.template matrix<T>(n, share), left = ranks.template matrix<T>(n, share);
  auto status = ranks.template matrix<std::int32_t>(1, 1);
  auto workspace = ranks.template matrix<std::byte>(call.bytes(), 1);
  upload(shards, in_blocks(m, TileColumns(n, shard, call.plan.tile, size)));
  ranks.run([&](auto& engine) {
    const int r = engine.rank();
    call.run(engine, workspace.view(r), shards.view(r), s.view(r), right.view(r), left.view(r), status.view(r));
  });
  Singular<T> found{download(s, size), {}, {}, {}};
  if (share > 0) {
    found.u = side_by_side(download(left, size), n);
    auto vectors = download(right, size);
    if (call.problem.as_columns) {
      for (Matrix<T>& own : vectors) own = from_adjoint(own);
    }
    found.v = side_by_side(vectors, n);
  }
  for (const auto& info : download(status, size)) found.status.push_back(info(0, 0));
  return found;
}

template <class T>
struct PolarFactors {
  Matrix<T> u, h;
  std::vector<std::int32_t> status;
};

template <class T, class Ranks>
PolarFactors<T> polar_factors(const Matrix<T>& m, int size, std::int64_t tile, bool left, bool factor_h = true) {
  const std::int64_t n = m.rows(), shard = shard_of(n, size);
  CallOf<routines::Polar, T> call(n, size, tile);
  call.problem.left = left;
  call.problem.factor_h = factor_h;
  call.plan.depth = 2 * tile;
  call.plan.slots = 2;
  call.plan.largest_potrf = size == 1 ? n : call.plan.depth;
  Ranks ranks(size);
  auto shards = ranks.template matrix<T>(n, shard), h = ranks.template matrix<T>(n, factor_h ? shard : 0);
  auto status = ranks.template matrix<std::int32_t>(1, 1);
  auto workspace = ranks.template matrix<std::byte>(call.bytes(), 1);
  const TileColumns layout(n, shard, tile, size);
  upload(shards, in_blocks(m, layout));
  ranks.run([&](auto& engine) {
    const int r = engine.rank();
    call.run(engine, workspace.view(r), shards.view(r), h.view(r), status.view(r));
  });
  PolarFactors<T> found{from_blocks(download(shards, size), layout), {}, {}};
  if (factor_h) found.h = from_blocks(download(h, size), layout);
  for (const auto& info : download(status, size)) found.status.push_back(info(0, 0));
  return found;
}

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

  // ||M - U diag(s) V^H|| / (n eps ||M||).
  static double residual(const Matrix<T>& m, const Singular<T>& found) {
    auto scaled = widened(found.u);
    for (std::int64_t j = 0; j < m.rows(); ++j) {
      for (std::int64_t i = 0; i < m.rows(); ++i) scaled(i, j) *= static_cast<double>(found.s[0](j, 0));
    }
    auto error = widened(m);
    gemm<Wide<T>>(-1.0, scaled, Op::conj_transpose, widened(found.v), error);
    return frobenius(error) / (n_eps<T>(m.rows()) * norm_or_least(m));
  }

  static void check(const Matrix<T>& m, int ranks) {
    const std::int64_t n = m.rows();
    const auto expected = lapack_singular_values(m);
    for (const bool vectors : {true, false}) {
      SCOPED_TRACE(vectors ? "with vectors" : "values alone");
      const auto found = decompose<T, Ranks>(m, call(n, ranks, vectors));
      for (const std::int32_t status : found.status) ASSERT_EQ(status, 0);
      for (const auto& s : found.s) ASSERT_EQ(s, found.s[0]) << "ranks differ";
      const auto s = values(found.s[0]);
      EXPECT_TRUE(std::is_sorted(s.rbegin(), s.rend()));
      for (std::size_t i = 0; i < s.size(); ++i) {
        ASSERT_GE(s[i], 0);
        ASSERT_LE(std::abs(s[i] - expected[i]), threshold * n_eps<T>(n) * norm_or_least(m)) << "singular value " << i;
      }
      if (!vectors) continue;
      EXPECT_LE(residual(m, found), threshold);
      EXPECT_LE(orthogonality(found.u), threshold);
      EXPECT_LE(orthogonality(found.v), threshold);
    }
  }

  // M = U H, or M = H U with the H of the transposed matrix (see routines/polar.h), and H semidefinite.
  static void check_polar(const Matrix<T>& m, int ranks, bool left) {
    const std::int64_t n = m.rows();
    const auto found = polar_factors<T, Ranks>(m, ranks, std::min<std::int64_t>(8, shard_of(n, ranks)), left);
    for (const std::int32_t status : found.status) ASSERT_EQ(status, 0);
    EXPECT_LE(orthogonality(found.u), threshold);
    EXPECT_EQ(found.h, mirrored(found.h));
    auto error = widened(m);
    // Columns of H here are rows for the caller: the left H of A is that of M on the right.
    gemm<Wide<T>>(-1.0, widened(left ? found.u : found.h), Op::none, widened(left ? found.h : found.u), error);
    EXPECT_LE(frobenius(error) / (n_eps<T>(n) * norm_or_least(m)), threshold);
    for (const double w : lapack_eigenvalues(found.h)) EXPECT_GE(w, -threshold * n_eps<T>(n) * norm_or_least(m));
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

// With powers of two, singular values are those of the matrix in the middle of the range, up to rounding of the least
// ones.
TYPED_TEST_P(SvdTest, ScalesMatricesThatWouldOverOrUnderflow) {
  using T = typename TypeParam::Scalar;
  using R = Real<T>;
  const std::int64_t n = 33;
  const auto m = random_matrix<T>(n, n, 5);
  const auto expected = lapack_singular_values(m);
  for (const int exponent : {std::numeric_limits<R>::min_exponent + 2, std::numeric_limits<R>::max_exponent - 6}) {
    auto scaled = m;
    for (std::int64_t i = 0; i < n * n; ++i) scaled.data()[i] *= std::ldexp(R(1), exponent);
    for (const bool vectors : {true, false}) {
      const auto found = decompose<T, typename TypeParam::Ranks>(scaled, this->call(n, 1, vectors));
      ASSERT_EQ(found.status[0], 0);
      for (std::int64_t i = 0; i < n; ++i) {
        const double s = std::ldexp(static_cast<double>(found.s[0](i, 0)), -exponent);
        EXPECT_LE(std::abs(s - expected[static_cast<std::size_t>(i)]), this->threshold * n_eps<T>(n) * frobenius(m));
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
    const auto found = decompose<T, typename TypeParam::Ranks>(m, this->call(n, ranks, true));
    for (const std::int32_t status : found.status) EXPECT_EQ(status, not_finite);
    for (const auto& s : found.s) EXPECT_TRUE(all_nan(s));
    EXPECT_TRUE(all_nan(found.u));
    EXPECT_TRUE(all_nan(found.v));
    const auto polar = polar_factors<T, typename TypeParam::Ranks>(m, ranks, 4, false);
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
    all.plan.blocking.solo = true;
    all.plan.tile = shard_of(n, ranks);
    const auto expected = decompose<T, Ranks>(m, single), found = decompose<T, Ranks>(m, all);
    all.problem.as_columns = true;
    const auto turned = decompose<T, Ranks>(m, all);
    for (const Singular<T>* other : {&found, &turned}) {
      for (const auto& s : other->s) EXPECT_EQ(s, expected.s[0]);
      EXPECT_EQ(other->u, expected.u);
      EXPECT_EQ(other->v, expected.v);
    }
    EXPECT_EQ((polar_factors<T, Ranks>(m, ranks, 4, true, false).u), (polar_factors<T, Ranks>(m, ranks, 4, true).u));
  }
}

REGISTER_TYPED_TEST_SUITE_P(SvdTest, DecomposesMatricesOfAllShapes, DecomposesHardMatrices,
                            ScalesMatricesThatWouldOverOrUnderflow, NonFiniteElementsGiveNan,
                            OtherFormsHoldTheSameResults);

}  // namespace jaxmg::testing
