// Properties of the LU factorisation, for any engine.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/row_chunks.h"
#include "general.h"
#include "gtest/gtest.h"
#include "lapack.h"
#include "lu_solves.h"
#include "matrices.h"
#include "shapes.h"
#include "typed.h"

namespace jaxmg::testing {

template <class Parameter>
class Getrf : public ::testing::Test {
 protected:
  using Ranks = typename Parameter::Ranks;
  using T = typename Parameter::Scalar;

  static LuFactorization<T> factor(const Matrix<T>& m, const Shape& shape, std::int64_t leaf) {
    Ranks ranks(shape.ranks);
    return factor_lu(ranks, m, shape, leaf);
  }
  // Factors whole panels, or pieces of a few columns.
  static LuFactorization<T> factor(const Matrix<T>& m, const Shape& shape) {
    return factor(m, shape, shape.n % 2 == 0 ? shape.n : 3);
  }
  // Real multipliers are at most 1, also after rounding. Complex pivots are the largest by |re| + |im|; multipliers are
  // then at most sqrt(2), plus rounding of the reciprocal.
  static constexpr double largest_allowed() {
    return is_complex<T> ? 1.4142135623730951 * (1 + 8 * static_cast<double>(std::numeric_limits<Real<T>>::epsilon()))
                         : 1;
  }
};

TYPED_TEST_SUITE_P(Getrf);

TYPED_TEST_P(Getrf, BackwardErrorIsSmall) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    const auto m = random_matrix<T>(shape.n, shape.n, 1);
    const auto found = this->factor(m, shape);
    EXPECT_EQ(found.info, 0);
    EXPECT_LE(lu_error(m, found), 30);
    EXPECT_LE(largest_multiplier(found.lu), this->largest_allowed());
  }
}

// The pivots of a random matrix are unique: candidates differ by more than rounding errors.
TYPED_TEST_P(Getrf, PivotsAndFactorAgreeWithLapack) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    const auto m = random_matrix<T>(shape.n, shape.n, 2);
    const auto found = this->factor(m, shape), known = lapack_lu(m);
    EXPECT_EQ(found.pivots, known.pivots);
    // Errors of the factors grow with the condition number of leading blocks.
    EXPECT_LE(difference(found.lu, known.lu), 1e4);
  }
}

TYPED_TEST_P(Getrf, PanelsMayBeFactoredInPieces) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    const auto m = random_matrix<T>(shape.n, shape.n, 3);
    const auto whole = this->factor(m, shape, shape.n);
    for (const std::int64_t leaf : {1, 2, 3}) {
      SCOPED_TRACE(::testing::Message() << shape << ", pieces of " << leaf);
      const auto found = this->factor(m, shape, leaf);
      EXPECT_EQ(found.pivots, whole.pivots);
      EXPECT_LE(lu_error(m, found), 30);
    }
  }
}

// More interchanges in a tile column than in a chunk.
TYPED_TEST_P(Getrf, TilesMayBeWiderThanAChunkOfInterchanges) {
  using T = typename TypeParam::Scalar;
  if (is_complex<T>) GTEST_SKIP() << "interchanges do not depend on the scalar type";
  const std::int64_t n = 2 * interchange_chunk + 500;
  for (const int ranks : {1, 2}) {
    if (!TypeParam::Ranks::available(ranks)) continue;
    const Shape shape{n, ranks, interchange_chunk + 40, interchange_chunk + 40, 2};
    SCOPED_TRACE(shape);
    const auto m = random_matrix<T>(n, n, 4);
    const auto found = this->factor(m, shape, 100), known = lapack_lu(m);
    if (sizeof(Real<T>) == 8) {
      EXPECT_EQ(found.pivots, known.pivots);
    }
    EXPECT_LE(lu_error(m, found), 30);
  }
}

TYPED_TEST_P(Getrf, HardMatricesAreFactoredAsAccuratelyAsByLapack) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    for (const auto& [name, m] : general_matrices<T>(shape.n)) {
      SCOPED_TRACE(::testing::Message() << shape << ", " << name);
      const auto found = this->factor(m, shape), known = lapack_lu(m);
      EXPECT_LE(lu_error(m, found), std::max(30.0, 10 * lu_error(m, known)));
      EXPECT_LE(largest_multiplier(found.lu), this->largest_allowed());
    }
  }
}

// Panels are interchanged in the chunks in which they are stored.
TYPED_TEST_P(Getrf, ChunksOfRowsAreInterchangedAsTheWholeMatrix) {
  using T = typename TypeParam::Scalar;
  constexpr std::int64_t rows = 230, columns = 7, interchanged = 5, row = 11;
  for (const std::int64_t chunk : {50, 115, 1000}) {
    for (const std::int64_t count : {3, 40, 230}) {
      SCOPED_TRACE(::testing::Message() << count << " interchanges in chunks of " << chunk << " rows");
      const auto whole = random_matrix<T>(rows, columns, 8);
      Matrix<std::int32_t> pivots(rows, 1);
      for (std::int64_t i = 0; i < rows; ++i) {
        pivots(i, 0) = static_cast<std::int32_t>(row + i + 7 * i * i % (rows - i));
      }
      Matrix<T> stored(rows * columns, 1);
      const auto in_chunks = [&](T* data) { return RowChunks<T>{data, rows, columns, chunk}; };
      const auto at = [&](std::int64_t i, std::int64_t j) { return in_chunks(stored.data()).piece(i, j, 1).data; };
      for (std::int64_t j = 0; j < columns; ++j) {
        for (std::int64_t i = 0; i < rows; ++i) *at(i, j) = whole(i, j);
      }

      typename TestFixture::Ranks ranks(1);
      auto plain = ranks.template matrix<T>(rows, columns), chunks = ranks.template matrix<T>(rows * columns, 1);
      auto on_rank = ranks.template matrix<std::int32_t>(rows, 1);
      auto moves = ranks.template matrix<std::byte>(rows * static_cast<std::int64_t>(sizeof(RowMoves)), 1);
      plain.upload(0, whole);
      chunks.upload(0, stored);
      on_rank.upload(0, pivots);
      ranks.run([&](auto& engine) {
        constexpr Lane lane = Lane::panel;
        auto* const planned = reinterpret_cast<RowMoves*>(moves.view(0).data);
        engine.plan_interchanges(lane, on_rank.view(0).data, row, count, row + rows, planned);
        engine.interchange(lane, Interchanges::made, planned, count, row,
                           plain.view(0).block(0, 0, rows, interchanged));
        engine.interchange_chunks(lane, planned, count, row, in_chunks(chunks.view(0).data), interchanged);
        engine.join();
      });
      const Matrix<T> expected = plain.download(0);
      stored = chunks.download(0);
      Matrix<T> found(rows, columns);
      for (std::int64_t j = 0; j < columns; ++j) {
        for (std::int64_t i = 0; i < rows; ++i) found(i, j) = *at(i, j);
      }
      EXPECT_NE(found, whole);
      EXPECT_EQ(found, expected);
    }
  }
}

// Exact arithmetic on integers, without rounding.
TYPED_TEST_P(Getrf, PermutationIsFactoredExactly) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    const auto m = permuted_identity<T>(shape.n);
    const auto found = this->factor(m, shape), known = lapack_lu(m);
    EXPECT_EQ(found.info, 0);
    EXPECT_EQ(found.pivots, known.pivots);
    EXPECT_EQ(found.lu, known.lu);
  }
}

// The factorisation of a singular matrix continues after a zero pivot, as in LAPACK.
TYPED_TEST_P(Getrf, InfoIsTheFirstZeroPivot) {
  using T = typename TypeParam::Scalar;
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    for (const std::int64_t zero : {std::int64_t{0}, std::int64_t{1}, shape.n / 2, shape.n - 2, shape.n - 1}) {
      SCOPED_TRACE(::testing::Message() << shape << ", column " << zero << " is zero");
      auto m = random_matrix<T>(shape.n, shape.n, 5);
      for (const std::int64_t j : {zero, shape.n - 1}) {
        for (std::int64_t i = 0; i < shape.n; ++i) m(i, j) = T(0);
      }
      const auto found = this->factor(m, shape), known = lapack_lu(m);
      EXPECT_EQ(found.info, zero + 1);
      EXPECT_EQ(known.info, zero + 1);
      // Any row may be the pivot of a zero column.
      EXPECT_TRUE(std::equal(found.pivots.begin(), found.pivots.begin() + zero, known.pivots.begin()));
      EXPECT_LE(lu_error(m, found), 30);
    }
    SCOPED_TRACE(shape);
    const auto nothing = this->factor(Matrix<T>(shape.n, shape.n), shape);
    EXPECT_EQ(nothing.info, 1);
    EXPECT_EQ(nothing.lu, Matrix<T>(shape.n, shape.n));
  }
}

// NaN and infinity propagate; earlier columns stay correct, and pivots are valid rows.
TYPED_TEST_P(Getrf, NanAndInfinityPropagate) {
  using T = typename TypeParam::Scalar;
  const Real<T> infinity = std::numeric_limits<Real<T>>::infinity();
  for (const Shape& shape : some_shapes<typename TypeParam::Ranks>()) {
    const auto good = random_matrix<T>(shape.n, shape.n, 6);
    const auto known = this->factor(good, shape);
    for (const T bad : {not_a_number<T>(), T(infinity), T(-infinity)}) {
      const std::int64_t last = shape.n - 1, middle = shape.n / 2;
      for (const auto& [i, j] : {std::pair{last, last}, {std::int64_t{0}, last}, {middle, middle}, {last, middle}}) {
        SCOPED_TRACE(::testing::Message() << shape << ", " << bad << " at (" << i << ", " << j << ")");
        auto m = good;
        m(i, j) = bad;
        const auto found = this->factor(m, shape);
        for (std::int64_t k = 0; k < shape.n; ++k) {
          const auto pivot = found.pivots[static_cast<std::size_t>(k)];
          EXPECT_TRUE(pivot >= k && pivot < shape.n) << pivot;
          if (k < j) {
            EXPECT_EQ(pivot, known.pivots[static_cast<std::size_t>(k)]);
          }
        }
        for (std::int64_t k = 0; k < j && k < middle; ++k) EXPECT_EQ(found.lu(k, k), known.lu(k, k));
        EXPECT_TRUE(std::any_of(found.lu.data(), found.lu.data() + shape.n * shape.n,
                                [](T x) { return !std::isfinite(std::abs(x)); }));
      }
    }
    const auto none = this->factor(Matrix<T>(shape.n, shape.n, not_a_number<T>()), shape);
    EXPECT_TRUE(std::all_of(none.lu.data(), none.lu.data() + shape.n * shape.n,
                            [](T x) { return x == T(0) || !std::isfinite(std::abs(x)); }));
  }
}

REGISTER_TYPED_TEST_SUITE_P(Getrf, BackwardErrorIsSmall, PivotsAndFactorAgreeWithLapack, PanelsMayBeFactoredInPieces,
                            TilesMayBeWiderThanAChunkOfInterchanges, HardMatricesAreFactoredAsAccuratelyAsByLapack,
                            ChunksOfRowsAreInterchangedAsTheWholeMatrix, PermutationIsFactoredExactly,
                            InfoIsTheFirstZeroPivot, NanAndInfinityPropagate);

}  // namespace jaxmg::testing
