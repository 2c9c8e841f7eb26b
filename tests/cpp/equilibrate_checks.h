// Properties of scaling a matrix and rounding it to single precision, for any engine.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/scalar.h"
#include "gtest/gtest.h"
#include "matrices.h"
#include "routines/equilibrate.h"
#include "shapes.h"
#include "solves.h"
#include "typed.h"

namespace jaxmg::testing {

template <class Parameter>
class EquilibrateProperties : public ::testing::Test {};

TYPED_TEST_SUITE_P(EquilibrateProperties);

// Powers of two, as callers use them: each element is rounded once, and is equal on all engines. The sums of rows,
// and of columns over the ranks, are correct up to n eps.
TYPED_TEST_P(EquilibrateProperties, ScalesRoundsAndAddsUpMagnitudes) {
  using T = typename TypeParam::Scalar;
  using R = Real<T>;
  std::vector<Shape> all = some_shapes<typename TypeParam::Ranks>();
  for (const int ranks : {1, 2, 3, 8}) {
    // Fewer columns than ranks; and several strips and chunks of kernels.
    if (TypeParam::Ranks::available(ranks)) all.insert(all.end(), {{2, ranks, 1, 1, 1}, {700, ranks, 64, 64, 1}});
  }
  for (const Shape& shape : all) {
    for (const bool hermitian : {false, true}) {
      if (shape.n > 500 && shape.ranks > 2) continue;
      SCOPED_TRACE(::testing::Message() << shape << (hermitian ? ", Hermitian" : ""));
      const std::int64_t n = shape.n, shard = shape.layout().shard();
      CallOf<routines::Equilibrate, T> call(shape);
      call.problem.hermitian = hermitian;

      // Columns of A^T.
      Matrix<T> a = random_matrix<T>(n, n, 1);
      Matrix<R> left(n, 1), right(n, 1), shift(1, 1, R(1) / 1024);
      for (std::int64_t i = 0; i < n; ++i) {
        left(i, 0) = std::ldexp(R(1), static_cast<int>(i % 7) - 3);
        right(i, 0) = std::ldexp(R(1), 2 - static_cast<int>(i % 5));
      }
      Matrix<Single<T>> expected(n, n);
      Matrix<double> row_sums(n, 1), column_sums(n, 1);
      for (std::int64_t j = 0; j < n; ++j) {
        for (std::int64_t i = 0; i < n; ++i) {
          if (hermitian && i < j) {
            a(i, j) = not_a_number<T>();
            continue;
          }
          T value = a(i, j) * left(j, 0) * right(i, 0);
          if (i == j) value *= 1 + shift(0, 0);
          expected(i, j) = static_cast<Single<T>>(value);
          row_sums(j, 0) += static_cast<double>(std::abs(value));
          if (!hermitian || i != j) column_sums(i, 0) += static_cast<double>(std::abs(value));
        }
      }

      typename TypeParam::Ranks ranks(shape.ranks);
      auto shards = ranks.template matrix<T>(n, shard);
      auto lefts = ranks.template matrix<R>(n, 1), rights = ranks.template matrix<R>(n, 1);
      auto shifts = ranks.template matrix<R>(1, 1);
      auto scaled = ranks.template matrix<Single<T>>(n, shard);
      auto of_rows = ranks.template matrix<R>(shard, 1), of_columns = ranks.template matrix<R>(n, 1);
      auto workspace = ranks.template matrix<std::byte>(call.bytes(), 1);
      for (int r = 0; r < shape.ranks; ++r) {
        Matrix<T> own(n, shard, not_a_number<T>());
        for (std::int64_t j = 0; j < shard && r * shard + j < n; ++j) {
          std::copy_n(&a(0, r * shard + j), n, &own(0, j));
        }
        shards.upload(r, own);
        lefts.upload(r, left);
        rights.upload(r, right);
        shifts.upload(r, shift);
      }
      ranks.run([&](auto& engine) {
        const int r = engine.rank();
        call.run(engine, workspace.view(r), shards.view(r), lefts.view(r), rights.view(r), shifts.view(r),
                 scaled.view(r), of_rows.view(r), of_columns.view(r));
      });

      Matrix<double> sums(n, 1);
      const double bound = static_cast<double>(n) * std::numeric_limits<R>::epsilon();
      for (int r = 0; r < shape.ranks; ++r) {
        const Matrix<Single<T>> found = scaled.download(r);
        const Matrix<R> own_sums = of_rows.download(r), other_sums = of_columns.download(r);
        for (std::int64_t j = 0; j < shard; ++j) {
          const std::int64_t row = r * shard + j;
          for (std::int64_t i = 0; i < n; ++i) {
            ASSERT_EQ(found(i, j), row < n ? expected(i, row) : Single<T>(0)) << "in row " << row << ", column " << i;
          }
          const double sum = row < n ? row_sums(row, 0) : 0;
          ASSERT_LE(std::abs(static_cast<double>(own_sums(j, 0)) - sum), bound * sum) << "of row " << row;
        }
        for (std::int64_t i = 0; i < n; ++i) sums(i, 0) += static_cast<double>(other_sums(i, 0));
      }
      for (std::int64_t i = 0; i < n; ++i) {
        ASSERT_LE(std::abs(sums(i, 0) - column_sums(i, 0)), bound * column_sums(i, 0)) << "of column " << i;
      }
    }
  }
}

REGISTER_TYPED_TEST_SUITE_P(EquilibrateProperties, ScalesRoundsAndAddsUpMagnitudes);

}  // namespace jaxmg::testing
