// Properties of the Cholesky factorisation, for any kind of ranks.
#pragma once

#include <cstdint>
#include <limits>

#include "gtest/gtest.h"
#include "lapack.h"
#include "matrices.h"
#include "residuals.h"
#include "shapes.h"
#include "solves.h"
#include "typed.h"

namespace jaxmg::testing {

template <class Parameter>
class Potrf : public ::testing::Test {
 protected:
  using Ranks = typename Parameter::Ranks;
  using T = typename Parameter::Scalar;

  static Factorization<T> factor(const Matrix<T>& a, const Shape& shape, const Matrix<T>& b = {}) {
    Ranks ranks(shape.ranks);
    return testing::factor(ranks, a, shape, b);
  }
};

TYPED_TEST_SUITE_P(Potrf);

TYPED_TEST_P(Potrf, BackwardErrorIsSmall) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    const auto a = positive_definite<T>(shape.n, 1);
    const auto found = this->factor(a, shape);
    EXPECT_EQ(found.info, 0);
    EXPECT_LE(factor_error(a, found.l), 2);
  }
}

// The factor is unique; for a condition near 1 its error is of the order of the backward error.
TYPED_TEST_P(Potrf, FactorAgreesWithLapack) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    auto expected = positive_definite<T>(shape.n, 2);
    const auto found = this->factor(expected, shape);
    ASSERT_EQ(lapack_potrf(expected), 0);
    EXPECT_LE(difference(found.l, lower_triangle(expected)), 10);
  }
}

TYPED_TEST_P(Potrf, ReadsTheLowerTriangleOnly) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    const auto a = positive_definite<T>(shape.n, 3);
    const auto found = this->factor(lower_only(a), shape);
    EXPECT_EQ(found.info, 0);
    EXPECT_LE(factor_error(a, found.l), 2);
  }
}

TYPED_TEST_P(Potrf, SolvesForwardAlongWithFactoring) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    const auto b = random_matrix<T>(shape.n, 3, 8);
    const auto found = this->factor(positive_definite<T>(shape.n, 9), shape, b);
    for (const auto& y : found.y) EXPECT_LE(solve_error(found.l, y, b), 3);
  }
}

// The backward error does not depend on the condition, here 1e8 in double and 1e4 in single precision.
TYPED_TEST_P(Potrf, BackwardErrorIsSmallForSmoothKernels) {
  using T = typename TypeParam::Scalar;
  const double nugget = std::sqrt(static_cast<double>(std::numeric_limits<Real<T>>::epsilon()));
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    const auto a = kernel<T>(shape.n, 8, nugget);
    const auto found = this->factor(a, shape);
    EXPECT_EQ(found.info, 0);
    EXPECT_LE(factor_error(a, found.l), 2);
  }
}

// Scaling rows and columns by powers of two scales L exactly, therefore small rows are as accurate as large ones.
TYPED_TEST_P(Potrf, CommutesWithScaling) {
  using T = typename TypeParam::Scalar;
  const auto power = [](std::int64_t i) { return static_cast<Real<T>>(std::ldexp(1.0, -static_cast<int>(i % 24))); };
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    auto a = positive_definite<T>(shape.n, 4);
    auto expected = this->factor(a, shape).l;
    for (std::int64_t j = 0; j < shape.n; ++j) {
      for (std::int64_t i = 0; i < shape.n; ++i) {
        a(i, j) *= power(i) * power(j);
        expected(i, j) *= power(i);
      }
    }
    const auto found = this->factor(a, shape);
    EXPECT_EQ(found.info, 0);
    EXPECT_EQ(found.l, expected);
  }
}

TYPED_TEST_P(Potrf, InfoIsTheFirstFailingMinor) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    for (const std::int64_t minor : {std::int64_t{1}, std::int64_t{2}, shape.n / 2, shape.n - 1, shape.n}) {
      SCOPED_TRACE(::testing::Message() << shape << ", minor " << minor);
      auto a = indefinite_from<T>(shape.n, minor, 5);
      EXPECT_EQ(this->factor(a, shape).info, minor);
      EXPECT_EQ(lapack_potrf(a), minor);
    }
  }
}

TYPED_TEST_P(Potrf, InfoIsTheFirstOfSeveralFailingMinors) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    auto a = indefinite_from<T>(shape.n, 7, 6);
    for (const std::int64_t j : {std::int64_t{8}, shape.n / 2, shape.n - 1}) a(j, j) = T(-1);
    EXPECT_EQ(this->factor(a, shape).info, 7);
  }
}

TYPED_TEST_P(Potrf, AZeroPivotIsAFailure) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    EXPECT_EQ(this->factor(Matrix<T>(shape.n, shape.n), shape).info, 1);
  }
}

// The first leading minor that contains the entry is the first one that is not positive.
TYPED_TEST_P(Potrf, NanAndInfinityAreFailures) {
  using T = typename TypeParam::Scalar;
  const Real<T> infinity = std::numeric_limits<Real<T>>::infinity();
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    for (const T bad : {not_a_number<T>(), T(infinity), T(-infinity)}) {
      const std::int64_t last = shape.n - 1, middle = shape.n / 2;
      for (const auto& [i, j] : {std::pair{last, last},
                                 {last, std::int64_t{0}},
                                 {middle, middle},
                                 {middle, std::int64_t{1}},
                                 {std::int64_t{0}, std::int64_t{0}}}) {
        SCOPED_TRACE(::testing::Message() << shape << ", " << bad << " at (" << i << ", " << j << ")");
        auto a = positive_definite<T>(shape.n, 7);
        a(i, j) = bad;
        EXPECT_EQ(this->factor(a, shape).info, i + 1);
      }
    }
  }
}

REGISTER_TYPED_TEST_SUITE_P(Potrf, BackwardErrorIsSmall, FactorAgreesWithLapack, ReadsTheLowerTriangleOnly,
                            SolvesForwardAlongWithFactoring, BackwardErrorIsSmallForSmoothKernels, CommutesWithScaling,
                            InfoIsTheFirstFailingMinor, InfoIsTheFirstOfSeveralFailingMinors, AZeroPivotIsAFailure,
                            NanAndInfinityAreFailures);

}  // namespace jaxmg::testing
