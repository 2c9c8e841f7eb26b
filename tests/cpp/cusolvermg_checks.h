// Properties of routines served by cuSOLVERMg, for any kind of ranks, with the library or a stand-in.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "eigenproblems.h"
#include "engine/lu_ops.h"
#include "gtest/gtest.h"
#include "hermitian.h"
#include "matrices.h"
#include "residuals.h"
#include "routines/served/cusolvermg/cholesky.h"
#include "routines/served/cusolvermg/eigen.h"
#include "routines/served/cusolvermg/lu.h"
#include "solves.h"
#include "vendor/cusolvermg/dealt_columns.h"

namespace jaxmg::testing {

// Whole tiles on one rank, ragged tiles on two, and a rank without columns; only shapes of order `least` or more.
template <class Ranks>
std::vector<Shape> mg_shapes(std::int64_t least = 1) {
  std::vector<Shape> some;
  for (const Shape& shape : {Shape{48, 1, 3, 9, 3}, {41, 2, 4, 4, 2}, {5, 4, 1, 2, 2}}) {
    if (Ranks::available(shape.ranks) && shape.n >= least) some.push_back(shape);
  }
  return some;
}

// Parameter of a test: ranks, scalar type, and the library or its stand-in.
template <class R, class S, class L>
struct Driven {
  using Ranks = R;
  using Scalar = S;
  using Library = L;
};

template <class Parameter>
class CusolverMgTest : public ::testing::Test {
 protected:
  using Ranks = typename Parameter::Ranks;
  using T = typename Parameter::Scalar;
  template <class R>
  using Call = CallOf<Served<CusolverMg, R>, T>;

  // Workspace: our own pieces and the library's.
  template <class R>
  static std::int64_t bytes(const Call<R>& call) {
    return call.bytes() + Parameter::Library::bytes(call);
  }

  // A Hermitian system, or one with any A: R is Posv or Gesv.
  template <class R = routines::Posv>
  static Solution<T> solve(const Matrix<T>& a, const Matrix<T>& b, const Shape& s, bool distributed) {
    Ranks ranks(s.ranks);
    const Call<R> call(s, b.columns(), distributed);
    return testing::solve(ranks, in_blocks(a, s.layout()), b, call, bytes<R>(call));
  }
  static OnShards<T> factor(const Matrix<T>& a, const Shape& s) {
    Ranks ranks(s.ranks);
    const Call<routines::Potrf> call(s);
    return on_shards(ranks, in_blocks(a, s.layout()), call, bytes<routines::Potrf>(call));
  }
  static std::vector<Matrix<T>> inverse(const std::vector<Matrix<T>>& factor, const Shape& s) {
    Ranks ranks(s.ranks);
    const Call<routines::Potri> call(s);
    return on_shards(ranks, factor, call, bytes<routines::Potri>(call)).shards;
  }
  static std::vector<Matrix<T>> solve_with(const std::vector<Matrix<T>>& factor, const Matrix<T>& b, const Shape& s) {
    Ranks ranks(s.ranks);
    const Call<routines::Potrs> call(s, b.columns(), false);
    return solve_with_factor(ranks, factor, b, call, bytes<routines::Potrs>(call));
  }

  // With bounds: eigenvectors of eigenvalues between them, as rows of the adjoint.
  static Eigen<T> eigen(const Matrix<T>& a, const Shape& s, EigenvectorRange wanted,
                        const std::vector<Real<T>>& bounds = {}) {
    Ranks ranks(s.ranks);
    Call<routines::Syevd> call(s.n, s.ranks, s.tile);
    call.problem.first = wanted.first;
    call.problem.vectors = wanted.count;
    const auto form = bounds.empty() ? EigenvectorForm::columns : EigenvectorForm::adjoint_rows;
    return testing::eigen(ranks, in_blocks(lower_only(a), s.layout()), call, bytes<routines::Syevd>(call), form,
                          bounds);
  }
};

TYPED_TEST_SUITE_P(CusolverMgTest);

TYPED_TEST_P(CusolverMgTest, SolvesSystems) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : mg_shapes<typename TypeParam::Ranks>()) {
    const auto a = positive_definite<T>(shape.n, 1);
    for (const std::int64_t nrhs : {1, 5}) {
      for (const bool distributed : {false, true}) {
        SCOPED_TRACE(::testing::Message() << shape << ", " << nrhs << (distributed ? " shared" : " common") << " rhs");
        const auto b = random_matrix<T>(shape.n, nrhs, 2);
        const auto found = this->solve(lower_only(a), b, shape, distributed);
        for (const std::int32_t info : found.info) EXPECT_EQ(info, 0);
        for (const auto& x : found.x) {
          if (!distributed) {
            EXPECT_EQ(x, found.x[0]) << "ranks differ";
          }
        }
        EXPECT_LE(solve_error(a, distributed ? side_by_side(found.x, nrhs) : found.x[0], b), 3);
      }
    }
  }
}

// Ranks have columns of A^T.
TYPED_TEST_P(CusolverMgTest, SolvesSystemsWithAnyMatrix) {
  using T = typename TypeParam::Scalar;
  if constexpr (!LuOps<typename TypeParam::Ranks::Engine, T>) {
    GTEST_SKIP() << "the engine has no operations of LU";
  } else {
    for (const Shape& shape : mg_shapes<typename TypeParam::Ranks>()) {
      const auto a = random_matrix<T>(shape.n, shape.n, 11);
      for (const std::int64_t nrhs : {1, 5}) {
        for (const bool distributed : {false, true}) {
          SCOPED_TRACE(::testing::Message()
                       << shape << ", " << nrhs << (distributed ? " shared" : " common") << " rhs");
          const auto b = random_matrix<T>(shape.n, nrhs, 12);
          const auto found = this->template solve<routines::Gesv>(transposed(a), b, shape, distributed);
          for (const std::int32_t info : found.info) EXPECT_EQ(info, 0);
          const auto x = distributed ? side_by_side(found.x, nrhs) : found.x[0];
          EXPECT_LE(solve_error(a, x, b), 3);
          if (distributed) continue;
          for (const auto& other : found.x) EXPECT_EQ(other, x) << "ranks differ";
        }
      }
    }
  }
}

TYPED_TEST_P(CusolverMgTest, SingularMatricesMakeSolutionsNan) {
  using T = typename TypeParam::Scalar;
  if constexpr (!LuOps<typename TypeParam::Ranks::Engine, T>) {
    GTEST_SKIP() << "the engine has no operations of LU";
  } else {
    for (const Shape& shape : mg_shapes<typename TypeParam::Ranks>()) {
      SCOPED_TRACE(shape);
      const std::int64_t zero = shape.n / 2;
      const auto found = this->template solve<routines::Gesv>(transposed(singular_at<T>(shape.n, zero)),
                                                              random_matrix<T>(shape.n, 2, 13), shape, false);
      for (const std::int32_t info : found.info) EXPECT_EQ(info, zero + 1);
      for (const auto& x : found.x) EXPECT_TRUE(all_nan(x));
    }
  }
}

// Our own backend accepts the factor, and obtains the same results.
TYPED_TEST_P(CusolverMgTest, FactorAgreesWithOurBackend) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  for (const Shape& shape : mg_shapes<Ranks>()) {
    SCOPED_TRACE(shape);
    const auto a = positive_definite<T>(shape.n, 3);
    const auto found = this->factor(lower_only(a), shape);
    for (const std::int32_t info : found.status) EXPECT_EQ(info, 0);
    EXPECT_LE(factor_error(a, lower_triangle(collected(found.shards, shape.layout()))), 1);
    const auto b = random_matrix<T>(shape.n, 2, 4);
    Ranks ranks(shape.ranks);
    EXPECT_LE(solve_error(a, solve_with_factor(ranks, found.shards, b, shape, Sweeps::both, false)[0], b), 3);
    // And the other way round.
    Ranks other(shape.ranks);
    const auto ours = make_factor(other, lower_only(a), shape).shards;
    for (const auto& x : this->solve_with(ours, b, shape)) EXPECT_LE(solve_error(a, x, b), 3);
    const auto inverse = from_blocks(this->inverse(ours, shape), shape.layout());
    for (std::int64_t j = 0; j < shape.n; ++j) {
      for (std::int64_t i = j; i < shape.n; ++i) EXPECT_EQ(inverse(j, i), conjugate(inverse(i, j)));
    }
    // X A = I, in the norm of potri_checks.h.
    auto error = identity<Wide<T>>(shape.n);
    gemm<Wide<T>>(-1.0, widened(inverse), Op::none, widened(a), error);
    EXPECT_LE(frobenius(error), 3 * n_eps<T>(shape.n) * frobenius(a) * frobenius(inverse));
  }
}

TYPED_TEST_P(CusolverMgTest, FailureMakesEverythingNan) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : mg_shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    const std::int64_t middle = shape.n / 2 + 1;
    const auto a = indefinite_from<T>(shape.n, middle, 5);
    const auto solved = this->solve(a, random_matrix<T>(shape.n, 1, 6), shape, false);
    for (const std::int32_t info : solved.info) EXPECT_EQ(info, middle);
    for (const auto& x : solved.x) EXPECT_TRUE(all_nan(x));
    const auto factor = this->factor(a, shape);
    for (const std::int32_t info : factor.status) EXPECT_EQ(info, middle);
    for (const auto& shard : factor.shards) EXPECT_TRUE(all_nan(shard));
    for (const auto& shard : this->inverse(factor.shards, shape)) EXPECT_TRUE(all_nan(shard));
    for (const auto& x : this->solve_with(factor.shards, Matrix<T>(shape.n, 1), shape)) EXPECT_TRUE(all_nan(x));
  }
}

TYPED_TEST_P(CusolverMgTest, FindsEigenvaluesAndEigenvectors) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : mg_shapes<typename TypeParam::Ranks>(20)) {
    const auto a = random_hermitian<T>(shape.n, 7);
    const double bound = 30 * n_eps<T>(shape.n) * frobenius(a);
    const auto expected = lapack_eigenvalues(a);
    for (const EigenvectorRange wanted : {EigenvectorRange{0, shape.n}, {0, 0}, {shape.n / 2, 5}, {shape.n - 1, 1}}) {
      SCOPED_TRACE(::testing::Message() << wanted.count << " from " << wanted.first << ", " << shape);
      const auto found = this->eigen(a, shape, wanted);
      for (const std::int32_t status : found.status) EXPECT_EQ(status, 0);
      for (const auto& w : found.w) EXPECT_EQ(w, found.w[0]) << "ranks differ";
      auto w = values(found.w[0]);
      for (std::size_t i = 0; i < w.size(); ++i) EXPECT_LE(std::abs(w[i] - expected[i]), bound);
      if (wanted.count == 0) continue;
      w.erase(w.begin(), w.begin() + wanted.first);
      w.resize(static_cast<std::size_t>(wanted.count));
      EXPECT_LE(residual(a, found.z, w), 30);
      EXPECT_LE(orthogonality(found.z), 30.0 * static_cast<double>(shape.n) / static_cast<double>(wanted.count));
    }
  }
}

// All eigenvectors between the bounds, or as many as fit, followed by zeros.
TYPED_TEST_P(CusolverMgTest, FindsEigenvectorsByValueAsRowsOfTheAdjoint) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : mg_shapes<typename TypeParam::Ranks>(20)) {
    const auto a = random_hermitian<T>(shape.n, 9);
    const auto expected = lapack_eigenvalues(a);
    const auto between = [&](std::int64_t i) {  // eigenvalues i - 1 and i
      return static_cast<Real<T>>((expected[static_cast<std::size_t>(i - 1)] + expected[static_cast<std::size_t>(i)]) /
                                  2);
    };
    const std::int64_t first = 3, last = 10;
    for (const std::int64_t room : {std::int64_t{4}, shape.n}) {
      SCOPED_TRACE(::testing::Message() << "room for " << room << ", " << shape);
      const auto found = this->eigen(a, shape, {0, room}, {between(first), between(last)});
      for (const EigenvectorRange& range : found.found) {
        EXPECT_EQ(range.first, first);
        EXPECT_EQ(range.count, last - first);
      }
      const std::int64_t count = std::min(room, last - first);
      auto w = values(found.w[0]);
      w.erase(w.begin(), w.begin() + first);
      w.resize(static_cast<std::size_t>(room), 0.0);
      EXPECT_LE(residual(a, found.z, w), 30);
      EXPECT_NEAR(frobenius(found.z), std::sqrt(static_cast<double>(count)), 1e-4);
    }
  }
}

TYPED_TEST_P(CusolverMgTest, NonFiniteMatricesGiveNan) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : mg_shapes<typename TypeParam::Ranks>(20)) {
    SCOPED_TRACE(shape);
    auto a = random_hermitian<T>(shape.n, 8);
    a(shape.n - 1, shape.n / 2) = not_a_number<T>();
    const auto found = this->eigen(a, shape, {0, shape.n});
    for (const std::int32_t status : found.status) EXPECT_EQ(status, not_finite);
    for (const auto& w : found.w) EXPECT_TRUE(all_nan(w));
    EXPECT_TRUE(all_nan(found.z));
  }
}

REGISTER_TYPED_TEST_SUITE_P(CusolverMgTest, SolvesSystems, SolvesSystemsWithAnyMatrix, SingularMatricesMakeSolutionsNan,
                            FactorAgreesWithOurBackend, FailureMakesEverythingNan, FindsEigenvaluesAndEigenvectors,
                            FindsEigenvectorsByValueAsRowsOfTheAdjoint, NonFiniteMatricesGiveNan);

}  // namespace jaxmg::testing
