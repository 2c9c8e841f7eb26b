// Properties of solves with a Cholesky factor and of factor-and-solve, for any kind of ranks.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "lapack.h"
#include "matrices.h"
#include "residuals.h"
#include "shapes.h"
#include "solves.h"
#include "typed.h"

namespace jaxmg::testing {

template <class Parameter>
class Potrs : public ::testing::Test {
 protected:
  using Ranks = typename Parameter::Ranks;
  using T = typename Parameter::Scalar;

  // LAPACK's factor of a, and NaN above it.
  static Matrix<T> factor_of(Matrix<T> a) {
    EXPECT_EQ(lapack_potrf(a), 0);
    return lower_only(a);
  }
  static std::vector<Matrix<T>> solve_few(const Matrix<T>& l, const Matrix<T>& b, const Shape& shape) {
    Ranks ranks(shape.ranks);
    return testing::solve_few(ranks, l, b, shape);
  }
  static Matrix<T> solve_many(const Matrix<T>& l, const Matrix<T>& b, const Shape& shape) {
    Ranks ranks(shape.ranks);
    return testing::solve_many(ranks, l, b, shape);
  }
  static Solution<T> solve(const Matrix<T>& a, const Matrix<T>& b, const Shape& shape, bool distributed_rhs) {
    Ranks ranks(shape.ranks);
    return testing::solve(ranks, a, b, shape, distributed_rhs);
  }
};

TYPED_TEST_SUITE_P(Potrs);

TYPED_TEST_P(Potrs, FewRightHandSidesAreSolvedOnEveryRank) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : shapes<typename TypeParam::Ranks>()) {
    const auto a = positive_definite<T>(shape.n, 1);
    const auto l = this->factor_of(a);
    const std::int64_t nrhs = 1 + shape.n % 3;
    SCOPED_TRACE(::testing::Message() << shape << ", nrhs " << nrhs);
    const auto b = random_matrix<T>(shape.n, nrhs, 2);
    const auto x = this->solve_few(l, b, shape);
    EXPECT_LE(solve_error(a, x[0], b), 3);
    for (const auto& other : x) EXPECT_EQ(other, x[0]);
  }
}

TYPED_TEST_P(Potrs, ManyRightHandSidesAreSolvedInPlace) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : shapes<typename TypeParam::Ranks>()) {
    if (shape.ranks == 1) continue;
    SCOPED_TRACE(shape);
    const auto a = positive_definite<T>(shape.n, 3);
    const auto b = random_matrix<T>(shape.n, 2 * shape.ranks + 1, 4);
    EXPECT_LE(solve_error(a, this->solve_many(this->factor_of(a), b, shape), b), 3);
  }
}

TYPED_TEST_P(Potrs, FewAndManyAgreeWithLapack) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    const auto l = this->factor_of(positive_definite<T>(shape.n, 5));
    const auto b = random_matrix<T>(shape.n, 67, 6);
    auto expected = b;
    lapack_potrs(l, expected);
    EXPECT_LE(difference(this->solve_few(l, b, shape)[0], expected), 10);
    if (shape.ranks == 1) continue;
    EXPECT_LE(difference(this->solve_many(l, b, shape), expected), 10);
  }
}

TYPED_TEST_P(Potrs, FewerRightHandSidesThanRanks) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    if (shape.ranks == 1) continue;
    SCOPED_TRACE(shape);
    const auto a = positive_definite<T>(shape.n, 7);
    const auto b = random_matrix<T>(shape.n, shape.ranks - 1, 8);
    EXPECT_LE(solve_error(a, this->solve_many(this->factor_of(a), b, shape), b), 3);
  }
}

TYPED_TEST_P(Potrs, SolvesFromUndealtShards) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : shapes<typename TypeParam::Ranks>()) {
    const bool distributed_rhs = shape.ranks > 1 && (shape.n + shape.ranks) % 2 == 1;
    SCOPED_TRACE(::testing::Message() << shape << (distributed_rhs ? ", distributed B" : ", replicated B"));
    const auto a = positive_definite<T>(shape.n, 9);
    const auto b = random_matrix<T>(shape.n, 4, 10);
    const auto solution = this->solve(lower_only(a), b, shape, distributed_rhs);
    EXPECT_EQ(solution.info, std::vector<std::int32_t>(static_cast<std::size_t>(shape.ranks), 0));
    EXPECT_LE(solve_error(a, distributed_rhs ? side_by_side(solution.x, b.columns()) : solution.x[0], b), 3);
  }
}

// The residual is small even if the error of X is large.
TYPED_TEST_P(Potrs, BackwardErrorIsSmallForSmoothKernels) {
  using T = typename TypeParam::Scalar;
  const double nugget = std::sqrt(static_cast<double>(std::numeric_limits<Real<T>>::epsilon()));
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    const auto a = kernel<T>(shape.n, 8, nugget);
    const auto b = random_matrix<T>(shape.n, 2, 11);
    EXPECT_LE(solve_error(a, this->solve(a, b, shape, false).x[0], b), 3);
  }
}

TYPED_TEST_P(Potrs, FailureIsReportedOnEveryRankAndXIsNan) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    const std::int64_t middle = shape.n / 2 + 1;
    auto nan = positive_definite<T>(shape.n, 12), infinite = nan;
    nan(middle - 1, 0) = not_a_number<T>();
    infinite(middle - 1, middle - 1) = T(std::numeric_limits<Real<T>>::infinity());
    for (const auto& a : {indefinite_from<T>(shape.n, middle, 13), nan, infinite}) {
      for (const bool distributed_rhs : {false, true}) {
        if (distributed_rhs && shape.ranks == 1) continue;
        SCOPED_TRACE(::testing::Message() << shape << (distributed_rhs ? ", distributed B" : ", replicated B"));
        const auto solution = this->solve(a, random_matrix<T>(shape.n, 2 * shape.ranks, 14), shape, distributed_rhs);
        for (const std::int32_t info : solution.info) EXPECT_EQ(info, middle);
        for (const auto& x : solution.x) EXPECT_TRUE(all_nan(x));
      }
    }
  }
}

REGISTER_TYPED_TEST_SUITE_P(Potrs, FewRightHandSidesAreSolvedOnEveryRank, ManyRightHandSidesAreSolvedInPlace,
                            FewAndManyAgreeWithLapack, FewerRightHandSidesThanRanks, SolvesFromUndealtShards,
                            BackwardErrorIsSmallForSmoothKernels, FailureIsReportedOnEveryRankAndXIsNan);

}  // namespace jaxmg::testing
