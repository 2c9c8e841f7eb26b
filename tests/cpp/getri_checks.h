// Properties of the LU routines from shards to shards, for any engine: factors, solutions, inverse.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "general.h"
#include "gtest/gtest.h"
#include "lu_solves.h"
#include "matrices.h"
#include "residuals.h"
#include "shapes.h"
#include "typed.h"

namespace jaxmg::testing {

template <class Parameter>
class Getri : public ::testing::Test {
 protected:
  using Ranks = typename Parameter::Ranks;
  using T = typename Parameter::Scalar;

  static DealtLu<T> factor(const Matrix<T>& a, const Shape& shape) {
    Ranks ranks(shape.ranks);
    return testing::getrf(ranks, a, shape);
  }
  static Matrix<T> inverse(const Matrix<T>& a, const Shape& shape) {
    const auto dealt = factor(a, shape);
    Ranks ranks(shape.ranks);
    return testing::getri(ranks, dealt, shape);
  }
  // ||I - A X|| / (n eps ||A|| ||X||).
  static double error(const Matrix<T>& a, const Matrix<T>& x) {
    Matrix<Wide<T>> difference(a.rows(), a.columns());
    for (std::int64_t i = 0; i < a.rows(); ++i) difference(i, i) = 1;
    gemm<Wide<T>>(-1.0, widened(a), Op::none, widened(x), difference);
    return frobenius(difference) / (n_eps<T>(a.rows()) * frobenius(a) * frobenius(x));
  }
};

TYPED_TEST_SUITE_P(Getri);

TYPED_TEST_P(Getri, TransposeIsFactored) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    const auto a = random_matrix<T>(shape.n, shape.n, 1), m = turned(a, Trans::transpose);
    const auto dealt = this->factor(a, shape);
    EXPECT_EQ(dealt.info, std::vector<std::int32_t>(static_cast<std::size_t>(shape.ranks), 0));
    const LuFactorization<T> found{collected(dealt.shards, shape.layout()), same_on_all(dealt.pivots), 0};
    EXPECT_LE(lu_error(m, found), 30);
    EXPECT_EQ(found.pivots, lapack_lu(m).pivots);
  }
}

TYPED_TEST_P(Getri, InfoIsOnEveryRank) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    const std::int64_t middle = shape.n / 2;
    auto a = random_matrix<T>(shape.n, shape.n, 2);
    for (std::int64_t j = 0; j < shape.n; ++j) a(middle, j) = a(shape.n - 1, j) = T(0);
    const std::vector<std::int32_t> expected(static_cast<std::size_t>(shape.ranks),
                                             static_cast<std::int32_t>(middle + 1));
    EXPECT_EQ(this->factor(a, shape).info, expected);
    // Solutions of a singular system are infinite or NaN.
    typename TypeParam::Ranks ranks(shape.ranks);
    const auto solution = gesv(ranks, a, random_matrix<T>(shape.n, 1, 3), shape, false);
    EXPECT_EQ(solution.info, expected);
    EXPECT_TRUE(std::any_of(solution.x[0].data(), solution.x[0].data() + shape.n,
                            [](T x) { return !std::isfinite(std::abs(x)); }));
  }
}

TYPED_TEST_P(Getri, SolvesFromUndealtShards) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : shapes<typename TypeParam::Ranks>()) {
    const bool distributed = shape.ranks > 1 && (shape.n + shape.ranks) % 2 == 1;
    SCOPED_TRACE(::testing::Message() << shape << (distributed ? ", distributed B" : ", replicated B"));
    const auto a = random_matrix<T>(shape.n, shape.n, 4);
    const auto b = random_matrix<T>(shape.n, 4, 5);
    typename TypeParam::Ranks ranks(shape.ranks);
    const auto solution = gesv(ranks, a, b, shape, distributed);
    EXPECT_EQ(solution.info, std::vector<std::int32_t>(static_cast<std::size_t>(shape.ranks), 0));
    EXPECT_LE(solve_error(a, distributed ? side_by_side(solution.x, 4) : solution.x[0], b), 30);
    // A is overwritten by the factor.
    const LuFactorization<T> found{collected(solution.shards, shape.layout()), same_on_all(solution.pivots), 0};
    EXPECT_LE(lu_error(turned(a, Trans::transpose), found), 30);
  }
}

TYPED_TEST_P(Getri, FactorSolvesWithEveryTranspose) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    const auto a = random_matrix<T>(shape.n, shape.n, 6);
    const auto dealt = this->factor(a, shape);
    for (const Trans trans : {Trans::none, Trans::transpose, Trans::conj_transpose}) {
      for (const bool distributed : {false, true}) {
        if (distributed && shape.ranks == 1) continue;
        SCOPED_TRACE(::testing::Message() << shape << ", trans " << static_cast<int>(trans)
                                          << (distributed ? ", distributed B" : ", replicated B"));
        const auto b = random_matrix<T>(shape.n, distributed ? 2 * shape.ranks + 1 : 3, 7);
        typename TypeParam::Ranks ranks(shape.ranks);
        const auto x = getrs(ranks, dealt, b, shape, trans, distributed);
        EXPECT_LE(solve_error(turned(a, trans), distributed ? side_by_side(x, b.columns()) : x[0], b), 30);
      }
    }
  }
}

TYPED_TEST_P(Getri, InverseInverts) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    const auto a = random_matrix<T>(shape.n, shape.n, 8), x = this->inverse(a, shape);
    EXPECT_LE(this->error(a, x), 30);
    EXPECT_LE(this->error(x, a), 30);
  }
}

// The inverse of a permutation requires only interchanges and is exact.
TYPED_TEST_P(Getri, InverseOfAPermutationIsItsTranspose) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    const auto a = permuted_identity<T>(shape.n);
    EXPECT_EQ(this->inverse(a, shape), turned(a, Trans::transpose));
  }
}

// The residual does not grow with the condition number.
TYPED_TEST_P(Getri, HardMatricesAreInverted) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    for (const auto& [name, a] : general_matrices<T>(shape.n)) {
      // Their inverses overflow or are ill-determined, or elements of L^-1 grow.
      if (name == "rank n / 2" || name == "Vandermonde" || name == "growing") continue;
      SCOPED_TRACE(::testing::Message() << shape << ", " << name);
      EXPECT_LE(this->error(a, this->inverse(a, shape)), 30);
    }
    SCOPED_TRACE(shape);
    const auto a = kernel<T>(shape.n, 8, 1e-3);
    EXPECT_LE(this->error(a, this->inverse(a, shape)), 30);
  }
}

// log |det| and sign from the diagonal and the pivots agree with LAPACK's factor.
TYPED_TEST_P(Getri, DiagonalAndPivotsGiveTheDeterminant) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    const auto a = random_matrix<T>(shape.n, shape.n, 9);
    const auto dealt = this->factor(a, shape);
    const auto known = lapack_lu(turned(a, Trans::transpose));
    typename TypeParam::Ranks ranks(shape.ranks);
    for (const auto& diagonal : diagonal_of_factor(ranks, dealt.shards, shape)) {
      Wide<T> ratio = 1;
      for (std::int64_t i = 0; i < shape.n; ++i) {
        ratio *= Wide<T>(diagonal(i, 0)) / Wide<T>(known.lu(i, i));
        const auto at = static_cast<std::size_t>(i);
        if ((same_on_all(dealt.pivots)[at] == i) != (known.pivots[at] == i)) ratio = -ratio;
      }
      EXPECT_LE(std::abs(ratio - 1.0), 1e4 * n_eps<T>(shape.n));
    }
  }
}

REGISTER_TYPED_TEST_SUITE_P(Getri, TransposeIsFactored, InfoIsOnEveryRank, SolvesFromUndealtShards,
                            FactorSolvesWithEveryTranspose, InverseInverts, InverseOfAPermutationIsItsTranspose,
                            HardMatricesAreInverted, DiagonalAndPivotsGiveTheDeterminant);

}  // namespace jaxmg::testing
