// Properties of solves with an LU factor, for any engine.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/larger.h"
#include "general.h"
#include "gtest/gtest.h"
#include "lu_solves.h"
#include "matrices.h"
#include "residuals.h"
#include "shapes.h"
#include "typed.h"

namespace jaxmg::testing {

inline constexpr Trans every_trans[] = {Trans::none, Trans::transpose, Trans::conj_transpose};

// max_j ||B_j - op(A) X_j|| / (n eps ||op(A)|| ||X_j||): by column, because solutions may differ widely in norm.
template <class T>
double worst_solve_error(const Matrix<T>& a, const Matrix<T>& x, const Matrix<T>& b) {
  double worst = 0;
  for (std::int64_t j = 0; j < b.columns(); ++j) {
    Matrix<T> xj(x.rows(), 1), bj(b.rows(), 1);
    std::copy_n(&x(0, j), x.rows(), xj.data());
    std::copy_n(&b(0, j), b.rows(), bj.data());
    worst = larger_or_nan(worst, solve_error(a, xj, bj));
  }
  return worst;
}

template <class Parameter>
class Getrs : public ::testing::Test {
 protected:
  using Ranks = typename Parameter::Ranks;
  using T = typename Parameter::Scalar;

  // op(A) X = B with LAPACK's factor of A^T.
  static std::vector<Matrix<T>> solve(const Matrix<T>& a, const Matrix<T>& b, const Shape& shape, Trans trans,
                                      bool distributed) {
    Ranks ranks(shape.ranks);
    return solve_lu(ranks, lapack_lu(turned(a, Trans::transpose)), b, shape, trans, distributed);
  }
};

TYPED_TEST_SUITE_P(Getrs);

TYPED_TEST_P(Getrs, FewRightHandSidesAreSolvedOnEveryRank) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : shapes<typename TypeParam::Ranks>()) {
    for (const Trans trans : every_trans) {
      const std::int64_t nrhs = 1 + shape.n % 3;
      SCOPED_TRACE(::testing::Message() << shape << ", nrhs " << nrhs << ", trans " << static_cast<int>(trans));
      const auto a = random_matrix<T>(shape.n, shape.n, 1);
      const auto b = random_matrix<T>(shape.n, nrhs, 2);
      const auto x = this->solve(a, b, shape, trans, false);
      EXPECT_LE(worst_solve_error(turned(a, trans), x[0], b), 30);
      for (const auto& other : x) EXPECT_EQ(other, x[0]);
    }
  }
}

TYPED_TEST_P(Getrs, ManyRightHandSidesAreSolvedByTheirRanks) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : shapes<typename TypeParam::Ranks>()) {
    if (shape.ranks == 1) continue;
    for (const Trans trans : every_trans) {
      SCOPED_TRACE(::testing::Message() << shape << ", trans " << static_cast<int>(trans));
      const auto a = random_matrix<T>(shape.n, shape.n, 3);
      const auto b = random_matrix<T>(shape.n, 2 * shape.ranks + 1, 4);
      const auto x = side_by_side(this->solve(a, b, shape, trans, true), b.columns());
      EXPECT_LE(worst_solve_error(turned(a, trans), x, b), 30);
    }
  }
}

TYPED_TEST_P(Getrs, FewerRightHandSidesThanRanks) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    if (shape.ranks == 1) continue;
    SCOPED_TRACE(shape);
    const auto a = random_matrix<T>(shape.n, shape.n, 7);
    const auto b = random_matrix<T>(shape.n, shape.ranks - 1, 8);
    const auto x = side_by_side(this->solve(a, b, shape, Trans::none, true), b.columns());
    EXPECT_LE(worst_solve_error(a, x, b), 30);
  }
}

// The residual is small for every condition number, unless elements grow.
TYPED_TEST_P(Getrs, HardMatricesAreSolved) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    for (const auto& [name, a] : general_matrices<T>(shape.n)) {
      if (lapack_lu(turned(a, Trans::transpose)).info != 0) continue;  // exactly singular
      for (const Trans trans : every_trans) {
        SCOPED_TRACE(::testing::Message() << shape << ", " << name << ", trans " << static_cast<int>(trans));
        const auto b = random_matrix<T>(shape.n, 2, 9);
        const double growth = lu_error(turned(a, Trans::transpose), lapack_lu(turned(a, Trans::transpose)));
        EXPECT_LE(worst_solve_error(turned(a, trans), this->solve(a, b, shape, trans, false)[0], b),
                  std::max(30.0, 10 * growth));
      }
    }
  }
}

REGISTER_TYPED_TEST_SUITE_P(Getrs, FewRightHandSidesAreSolvedOnEveryRank, ManyRightHandSidesAreSolvedByTheirRanks,
                            FewerRightHandSidesThanRanks, HardMatricesAreSolved);

}  // namespace jaxmg::testing
