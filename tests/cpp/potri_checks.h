// Properties of routines on a Cholesky factor, for any kind of ranks: inverse, factor by rows, diagonal, triangular
// solves.
#pragma once

#include <algorithm>
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

// ||I - X A|| / (n eps ||X|| ||A||): for Y = L^-H by substitution and X = Y Y^H, theory bounds it by a constant times
// the condition of L, which stands for sqrt(||X|| ||A||) (Du Croz and Higham, 1992, method 2D).
template <class T>
double inverse_error(const Matrix<T>& a, const Matrix<T>& x) {
  Matrix<Wide<T>> difference(a.rows(), a.columns());
  for (std::int64_t i = 0; i < a.rows(); ++i) difference(i, i) = 1;
  gemm<Wide<T>>(-1.0, widened(x), Op::none, widened(a), difference);
  return frobenius(difference) / (n_eps<T>(a.rows()) * frobenius(a) * frobenius(x));
}

template <class Parameter>
class Potri : public ::testing::Test {
 protected:
  using Ranks = typename Parameter::Ranks;
  using T = typename Parameter::Scalar;

  static OnShards<T> factor(const Matrix<T>& a, const Shape& shape) {
    Ranks ranks(shape.ranks);
    return make_factor(ranks, a, shape);
  }
  static Matrix<T> inverse(const Matrix<T>& a, const Shape& shape) {
    const auto dealt = factor(a, shape);
    Ranks ranks(shape.ranks);
    return from_blocks(invert(ranks, dealt.shards, shape), shape.layout());
  }
};

TYPED_TEST_SUITE_P(Potri);

TYPED_TEST_P(Potri, InverseIsHermitianAndInverts) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    const auto a = positive_definite<T>(shape.n, 1);
    const auto x = this->inverse(lower_only(a), shape);
    EXPECT_LE(inverse_error(a, x), 3);
    for (std::int64_t j = 0; j < shape.n; ++j) {
      EXPECT_EQ(std::imag(x(j, j)), 0);
      for (std::int64_t i = j; i < shape.n; ++i) EXPECT_EQ(x(j, i), conjugate(x(i, j))) << i << ", " << j;
    }
  }
}

// The residual does not grow with the condition, as it does with methods that invert as they factor.
TYPED_TEST_P(Potri, ResidualIsSmallForSmoothKernels) {
  using T = typename TypeParam::Scalar;
  const double nugget = std::sqrt(static_cast<double>(std::numeric_limits<Real<T>>::epsilon()));
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    const auto a = kernel<T>(shape.n, 8, nugget);
    EXPECT_LE(inverse_error(a, this->inverse(a, shape)), 3);
  }
}

TYPED_TEST_P(Potri, FactorByRowsAgreesWithLapack) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    const auto a = positive_definite<T>(shape.n, 2);
    auto expected = a;
    ASSERT_EQ(lapack_potrf(expected), 0);
    const auto dealt = this->factor(lower_only(a), shape);
    EXPECT_EQ(dealt.status, std::vector<std::int32_t>(static_cast<std::size_t>(shape.ranks), 0));
    typename TypeParam::Ranks ranks(shape.ranks);
    const auto rows = from_blocks(rows_of_factor(ranks, dealt.shards, shape), shape.layout());
    Matrix<T> l(shape.n, shape.n);
    for (std::int64_t j = 0; j < shape.n; ++j) {
      for (std::int64_t i = 0; i < shape.n; ++i) l(i, j) = conjugate(rows(j, i));
    }
    EXPECT_EQ(l, lower_triangle(l));
    EXPECT_LE(factor_error(a, l), 1);
    EXPECT_LE(difference(l, lower_triangle(expected)), 10);
  }
}

TYPED_TEST_P(Potri, EveryRankHasTheDiagonalOfTheFactor) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    const auto dealt = this->factor(positive_definite<T>(shape.n, 3), shape);
    const auto l = collected(dealt.shards, shape.layout());
    typename TypeParam::Ranks ranks(shape.ranks);
    for (const auto& diagonal : diagonal_of_factor(ranks, dealt.shards, shape)) {
      for (std::int64_t i = 0; i < shape.n; ++i) EXPECT_EQ(diagonal(i, 0), l(i, i));
    }
  }
}

TYPED_TEST_P(Potri, SweepsSolveTriangularSystems) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    const auto a = positive_definite<T>(shape.n, 4);
    const auto dealt = this->factor(a, shape);
    const auto l = lower_triangle(collected(dealt.shards, shape.layout()));
    Matrix<T> lh(shape.n, shape.n);
    for (std::int64_t j = 0; j < shape.n; ++j) {
      for (std::int64_t i = 0; i < shape.n; ++i) lh(i, j) = conjugate(l(j, i));
    }
    for (const bool distributed : {false, true}) {
      if (distributed && shape.ranks == 1) continue;
      SCOPED_TRACE(::testing::Message() << shape << (distributed ? ", distributed B" : ", replicated B"));
      const auto b = random_matrix<T>(shape.n, distributed ? 2 * shape.ranks + 1 : 3, 5);
      for (const auto& [sweeps, matrix] :
           {std::pair{Sweeps::both, &a}, {Sweeps::forward, &l}, {Sweeps::backward, &lh}}) {
        typename TypeParam::Ranks ranks(shape.ranks);
        const auto x = solve_with_factor(ranks, dealt.shards, b, shape, sweeps, distributed);
        EXPECT_LE(solve_error(*matrix, distributed ? side_by_side(x, b.columns()) : x[0], b), 3)
            << static_cast<int>(sweeps);
      }
    }
  }
}

// All results computed from the factor of an indefinite matrix are NaN.
TYPED_TEST_P(Potri, FailureMakesEverythingNan) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    const std::int64_t middle = shape.n / 2 + 1;
    const auto dealt = this->factor(indefinite_from<T>(shape.n, middle, 6), shape);
    for (const std::int32_t info : dealt.status) EXPECT_EQ(info, middle);
    for (const auto& shard : dealt.shards) EXPECT_TRUE(all_nan(shard));
    typename TypeParam::Ranks inverting(shape.ranks), turning(shape.ranks), solving(shape.ranks);
    for (const auto& shard : invert(inverting, dealt.shards, shape)) EXPECT_TRUE(all_nan(shard));
    for (const auto& shard : rows_of_factor(turning, dealt.shards, shape)) EXPECT_TRUE(all_nan(shard));
    const Matrix<T> zero(shape.n, 2);
    for (const auto& x : solve_with_factor(solving, dealt.shards, zero, shape, Sweeps::both, false)) {
      EXPECT_TRUE(all_nan(x));
    }
  }
}

REGISTER_TYPED_TEST_SUITE_P(Potri, InverseIsHermitianAndInverts, ResidualIsSmallForSmoothKernels,
                            FactorByRowsAgreesWithLapack, EveryRankHasTheDiagonalOfTheFactor,
                            SweepsSolveTriangularSystems, FailureMakesEverythingNan);

}  // namespace jaxmg::testing
