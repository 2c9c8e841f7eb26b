// Properties of the triangular solve, for any engine.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <ostream>
#include <utility>

#include "core/larger.h"
#include "engine/engine.h"
#include "gtest/gtest.h"
#include "lapack.h"
#include "matrices.h"
#include "residuals.h"
#include "typed.h"

namespace jaxmg::testing {

struct Triangle {
  Side side;
  Uplo uplo;
  Op op;
  Diag diag;

  friend std::ostream& operator<<(std::ostream& out, const Triangle& t) {
    return out << (t.side == Side::left ? "left" : "right") << (t.uplo == Uplo::lower ? " lower " : " upper ")
               << (t.op == Op::none        ? "none"
                   : t.op == Op::transpose ? "transpose"
                                           : "conj_transpose")
               << (t.diag == Diag::unit ? " unit" : " non-unit");
  }
};

// Triangle with condition number near 1, and NaN in elements that a solve must not read.
template <class T>
Matrix<T> triangle(std::int64_t n, Uplo uplo, Diag diag) {
  Matrix<T> a = random_matrix<T>(n, n, 1);
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < n; ++i) {
      if (i == j) {
        a(i, j) = diag == Diag::unit ? not_a_number<T>() : a(i, j) + T(4);
      } else if ((i > j) == (uplo == Uplo::lower)) {
        a(i, j) /= T(static_cast<Real<T>>(n));
      } else {
        a(i, j) = not_a_number<T>();
      }
    }
  }
  return a;
}

// op(A) of the triangle as a full matrix.
template <class T>
Matrix<T> expanded(const Matrix<T>& a, const Triangle& t) {
  const std::int64_t n = a.rows();
  Matrix<T> full(n, n);
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < n; ++i) {
      const bool stored = (i > j) == (t.uplo == Uplo::lower);
      const T value = i == j ? (t.diag == Diag::unit ? T(1) : a(i, i)) : stored ? a(i, j) : T(0);
      if (t.op == Op::none) {
        full(i, j) = value;
      } else {
        full(j, i) = t.op == Op::transpose ? value : conjugate(value);
      }
    }
  }
  return full;
}

template <class Parameter>
class Trsm : public ::testing::Test {};

TYPED_TEST_SUITE_P(Trsm);

// |op(A) X - B| <= 4 n eps |A| |X| for each combination of the arguments; n includes the columns.
TYPED_TEST_P(Trsm, SolvesWithEveryTriangle) {
  using T = typename TypeParam::Scalar;
  for (const Side side : {Side::left, Side::right}) {
    for (const Uplo uplo : {Uplo::lower, Uplo::upper}) {
      for (const Op op : {Op::none, Op::transpose, Op::conj_transpose}) {
        for (const Diag diag : {Diag::non_unit, Diag::unit}) {
          for (const std::int64_t n : {1, 2, 7, 40}) {
            for (const std::int64_t count : {1, 3}) {
              const Triangle t{side, uplo, op, diag};
              SCOPED_TRACE(::testing::Message() << t << ", order " << n << ", " << count << " right-hand sides");
              const bool left = side == Side::left;
              const Matrix<T> a = triangle<T>(n, uplo, diag);
              const Matrix<T> b = left ? random_matrix<T>(n, count, 2) : random_matrix<T>(count, n, 2);
              typename TypeParam::Ranks ranks(1);
              auto triangles = ranks.template matrix<T>(n, n);
              auto solutions = ranks.template matrix<T>(b.rows(), b.columns());
              triangles.upload(0, a);
              solutions.upload(0, b);
              ranks.run([&](auto& engine) {
                engine.trsm(Lane::panel, side, uplo, op, diag, triangles.view(0), solutions.view(0));
                engine.join();
              });
              const Matrix<T> x = solutions.download(0), full = expanded(a, t);
              double worst = 0;
              for (std::int64_t j = 0; j < b.columns(); ++j) {
                for (std::int64_t i = 0; i < b.rows(); ++i) {
                  T sum = -b(i, j);
                  double size = 0;
                  for (std::int64_t k = 0; k < n; ++k) {
                    const T product = left ? full(i, k) * x(k, j) : x(i, k) * full(k, j);
                    sum += product;
                    size += std::abs(product);
                  }
                  worst = larger_or_nan(worst, static_cast<double>(std::abs(sum)) / size);
                }
              }
              EXPECT_LE(worst, 4 * static_cast<double>(n) * std::numeric_limits<Real<T>>::epsilon());
            }
          }
        }
      }
    }
  }
}

// Unit lower triangles, for which engines may have kernels for certain orders; part of larger matrices whose other
// elements are neither read nor written.
TYPED_TEST_P(Trsm, SolvesWithUnitLowerTrianglesOfManyOrders) {
  using T = typename TypeParam::Scalar;
  constexpr Triangle t{Side::left, Uplo::lower, Op::none, Diag::unit};
  for (const std::int64_t n : {15, 16, 31, 32, 33, 100, 128, 129, 300}) {
    for (const std::int64_t count : {2, 9, 67}) {
      SCOPED_TRACE(::testing::Message() << "order " << n << ", " << count << " right-hand sides");
      const Matrix<T> a = triangle<T>(n, Uplo::lower, Diag::unit), b = random_matrix<T>(n, count, 2);
      const auto framed = [&](const Matrix<T>& inner) {
        Matrix<T> outer(n + 3, inner.columns() + 2, not_a_number<T>());
        for (std::int64_t j = 0; j < inner.columns(); ++j) {
          for (std::int64_t i = 0; i < n; ++i) outer(i + 1, j + 1) = inner(i, j);
        }
        return outer;
      };
      typename TypeParam::Ranks ranks(1);
      auto triangles = ranks.template matrix<T>(n + 3, n + 2);
      auto solutions = ranks.template matrix<T>(n + 3, count + 2);
      triangles.upload(0, framed(a));
      solutions.upload(0, framed(b));
      ranks.run([&](auto& engine) {
        engine.trsm(Lane::panel, t.side, t.uplo, t.op, t.diag, triangles.view(0).block(1, 1, n, n),
                    solutions.view(0).block(1, 1, n, count));
        engine.join();
      });
      Matrix<T> outer = solutions.download(0), x(n, count);
      for (std::int64_t j = 0; j < count; ++j) {
        for (std::int64_t i = 0; i < n; ++i) x(i, j) = std::exchange(outer(i + 1, j + 1), not_a_number<T>());
      }
      EXPECT_TRUE(all_nan(outer));
      EXPECT_LE(solve_error(expanded(a, t), x, b), 4);
    }
  }
}

REGISTER_TYPED_TEST_SUITE_P(Trsm, SolvesWithEveryTriangle, SolvesWithUnitLowerTrianglesOfManyOrders);

}  // namespace jaxmg::testing
