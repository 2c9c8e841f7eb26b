// Properties of the eigensolver, for any kind of ranks.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <tuple>
#include <vector>

#include "eigenproblems.h"
#include "gtest/gtest.h"
#include "hermitian.h"
#include "matrices.h"
#include "residuals.h"
#include "typed.h"

namespace jaxmg::testing {

// Orders below, at and above the bandwidth and the leaves of divide and conquer; panels that straddle tiles.
template <class Ranks, class T>
std::vector<EigenShape> eigen_shapes() {
  std::vector<EigenShape> all;
  std::int64_t turn = 0;
  for (const int ranks : {1, 2, 3, 4, 8}) {
    if (!Ranks::available(ranks)) continue;
    for (const std::int64_t n : {1, 2, 3, 7, 8, 9, 31, 64, 65, 150}) {
      for (const std::int64_t b : bandwidths<typename Ranks::Engine, T>()) {
        const std::int64_t tile = std::vector<std::int64_t>{b, 8, 5, 200}[static_cast<std::size_t>(turn % 4)];
        all.push_back(eigen_shape(n, ranks, tile, b, 1 + turn % 2));
        ++turn;
      }
    }
  }
  return all;
}

template <class Ranks, class T>
std::vector<EigenShape> some_eigen_shapes() {
  std::vector<EigenShape> some;
  for (const int ranks : {1, 2, 3, 4, 8}) {
    if (!Ranks::available(ranks)) continue;
    const auto choice = bandwidths<typename Ranks::Engine, T>();
    const std::int64_t b = choice[choice.size() / 2];
    some.push_back(eigen_shape(5 * b + 44, ranks, b, b, 1));
  }
  return some;
}

template <class Parameter>
class SyevdTest : public ::testing::Test {
 protected:
  using Ranks = typename Parameter::Ranks;
  using T = typename Parameter::Scalar;

  // LAPACK's own tests use the threshold 30 with norms that are smaller than ours by up to sqrt(n); here it applies to
  // the larger norms.
  static constexpr double threshold = 30;

  static void check(const Matrix<T>& a, const EigenShape& shape) {
    const auto expected = lapack_eigenvalues(a);
    // Weyl: eigenvalues move by no more than the backward error.
    const double most = threshold * n_eps<T>(shape.n) * norm_or_least(a);
    for (const bool vectors : {true, false}) {
      SCOPED_TRACE(vectors ? "with vectors" : "values alone");
      Ranks ranks(shape.ranks);
      const auto found = eigen(ranks, a, shape, vectors);
      for (const std::int32_t status : found.status) ASSERT_EQ(status, 0);
      for (const auto& w : found.w) ASSERT_EQ(w, found.w[0]) << "ranks differ";
      const auto w = values(found.w[0]);
      EXPECT_TRUE(std::is_sorted(w.begin(), w.end()));
      for (std::size_t i = 0; i < w.size(); ++i) {
        ASSERT_LE(std::abs(w[i] - expected[i]), most) << "eigenvalue " << i;
      }
      if (!vectors) continue;
      EXPECT_LE(residual(a, found.z, w), threshold);
      EXPECT_LE(orthogonality(found.z), threshold);
    }
  }
};

TYPED_TEST_SUITE_P(SyevdTest);

TYPED_TEST_P(SyevdTest, SolvesMatricesOfAllShapes) {
  using T = typename TypeParam::Scalar;
  for (const EigenShape& shape : eigen_shapes<typename TypeParam::Ranks, T>()) {
    SCOPED_TRACE(shape);
    this->check(random_hermitian<T>(shape.n, 1), shape);
  }
}

TYPED_TEST_P(SyevdTest, SolvesHardMatrices) {
  using T = typename TypeParam::Scalar;
  for (const EigenShape& shape : some_eigen_shapes<typename TypeParam::Ranks, T>()) {
    for (const auto& [name, a] : hard_matrices<T>(shape.n)) {
      SCOPED_TRACE(::testing::Message() << name << ", " << shape);
      this->check(a, shape);
    }
  }
}

// Subsets of eigenvectors are as accurate as all of them, for any start and any number per rank.
TYPED_TEST_P(SyevdTest, FindsPartOfTheEigenvectors) {
  using T = typename TypeParam::Scalar;
  for (const EigenShape& shape : some_eigen_shapes<typename TypeParam::Ranks, T>()) {
    const auto a = random_hermitian<T>(shape.n, 2);
    for (const EigenvectorRange wanted :
         {EigenvectorRange{0, 1}, {shape.n - 1, 1}, {3, 10}, {shape.n / 2, shape.n / 2}}) {
      SCOPED_TRACE(::testing::Message() << wanted.count << " from " << wanted.first << ", " << shape);
      typename TypeParam::Ranks ranks(shape.ranks);
      const auto found = eigen(ranks, a, shape, wanted);
      EXPECT_EQ(found.status[0], 0);
      const auto w = values(found.w[0]);
      const auto first = w.begin() + wanted.first;
      EXPECT_LE(residual(a, found.z, {first, first + wanted.count}), this->threshold);
      EXPECT_LE(orthogonality(found.z), this->threshold);
    }
  }
}

// The adjoint form holds the same eigenvectors.
TYPED_TEST_P(SyevdTest, ReturnsTheAdjoint) {
  using T = typename TypeParam::Scalar;
  for (const EigenShape& shape : some_eigen_shapes<typename TypeParam::Ranks, T>()) {
    const auto a = random_hermitian<T>(shape.n, 4);
    for (const EigenvectorRange wanted : {EigenvectorRange{0, shape.n}, {3, 10}}) {
      SCOPED_TRACE(::testing::Message() << wanted.count << " from " << wanted.first << ", " << shape);
      typename TypeParam::Ranks one(shape.ranks), other(shape.ranks);
      const auto columns = eigen(one, a, shape, wanted);
      const auto rows = eigen(other, a, shape, wanted, EigenvectorForm::adjoint_rows);
      EXPECT_EQ(rows.w, columns.w);
      EXPECT_EQ(rows.z, columns.z);
    }
  }
}

// Eigenvalues at the bounds belong to the interval above them. If not all fit, the lowest are returned; free columns
// become zero.
TYPED_TEST_P(SyevdTest, FindsEigenvectorsByValue) {
  using T = typename TypeParam::Scalar;
  using R = Real<T>;
  constexpr R infinity = std::numeric_limits<R>::infinity();
  for (const EigenShape& shape : some_eigen_shapes<typename TypeParam::Ranks, T>()) {
    // Small enough to be scaled: bounds refer to the matrix before scaling.
    auto a = random_hermitian<T>(shape.n, 5);
    for (std::int64_t i = 0; i < shape.n * shape.n; ++i) {
      a.data()[i] *= std::ldexp(R(1), std::numeric_limits<R>::min_exponent / 2 - 20);
    }
    typename TypeParam::Ranks plain(shape.ranks);
    const auto all = eigen(plain, a, shape, true);
    const auto value = [&](std::int64_t i) { return all.w[0](i, 0); };
    const std::int64_t room = 11, last = shape.n - 1;
    for (const auto& [low, high, found] : std::vector<std::tuple<R, R, EigenvectorRange>>{
             {value(4), value(9), {5, 5}},
             {-infinity, value(room), {0, room + 1}},
             {value(last - 3), infinity, {last - 2, 3}},
             {value(last), infinity, {shape.n, 0}},
         }) {
      SCOPED_TRACE(::testing::Message() << found.count << " from " << found.first << ", " << shape);
      typename TypeParam::Ranks ranks(shape.ranks);
      const auto some = eigen(ranks, a, shape, {0, room}, EigenvectorForm::columns, {low, high});
      EXPECT_EQ(some.w, all.w);
      for (const EigenvectorRange& range : some.found) {
        EXPECT_EQ(range.first, found.first);
        EXPECT_EQ(range.count, found.count);
      }
      // Columns are computed from the same columns of S, and therefore differ only by the rounding of products.
      const std::int64_t count = std::min(found.count, room);
      Matrix<T> known(shape.n, room);
      std::copy_n(all.z.data() + found.first * shape.n, shape.n * count, known.data());
      EXPECT_LE(frobenius(minus(some.z, known)), this->threshold * n_eps<T>(shape.n) * std::sqrt(count));
    }
  }
}

// With powers of two, the result equals the scaled result of the matrix in the middle of the range.
TYPED_TEST_P(SyevdTest, ScalesMatricesThatWouldOverOrUnderflow) {
  using T = typename TypeParam::Scalar;
  using R = Real<T>;
  const int widest = std::numeric_limits<R>::max_exponent - 10;
  for (const EigenShape& shape : some_eigen_shapes<typename TypeParam::Ranks, T>()) {
    const auto a = random_hermitian<T>(shape.n, 1);
    typename TypeParam::Ranks plain(shape.ranks);
    const auto expected = eigen(plain, a, shape, true);
    const double most = 60 * n_eps<T>(shape.n) * frobenius(a);
    for (const int exponent : {-widest, -widest / 2, widest / 2, widest}) {
      SCOPED_TRACE(::testing::Message() << "2^" << exponent << ", " << shape);
      auto scaled = a;
      for (std::int64_t i = 0; i < shape.n * shape.n; ++i) scaled.data()[i] *= std::ldexp(R(1), exponent);
      typename TypeParam::Ranks ranks(shape.ranks);
      const auto found = eigen(ranks, scaled, shape, true);
      EXPECT_EQ(found.status[0], 0);
      std::vector<double> w;
      for (std::int64_t i = 0; i < shape.n; ++i) {
        w.push_back(std::ldexp(static_cast<double>(found.w[0](i, 0)), -exponent));
        EXPECT_LE(std::abs(w.back() - static_cast<double>(expected.w[0](i, 0))), most);
      }
      EXPECT_LE(residual(a, found.z, w), this->threshold);
      EXPECT_LE(orthogonality(found.z), this->threshold);
    }
  }
}

TYPED_TEST_P(SyevdTest, NonFiniteElementsGiveNan) {
  using T = typename TypeParam::Scalar;
  using R = Real<T>;
  for (const EigenShape& shape : some_eigen_shapes<typename TypeParam::Ranks, T>()) {
    for (const R bad : {std::numeric_limits<R>::quiet_NaN(), std::numeric_limits<R>::infinity(),
                        -std::numeric_limits<R>::infinity()}) {
      for (const std::int64_t row : {std::int64_t{0}, shape.n - 1}) {
        for (const bool vectors : {true, false}) {
          SCOPED_TRACE(::testing::Message() << bad << " in row " << row << ", " << shape);
          auto a = random_hermitian<T>(shape.n, 1);
          a(std::max(row, shape.n / 2), std::min(row, shape.n / 2)) = T(bad);
          typename TypeParam::Ranks ranks(shape.ranks);
          const auto found = eigen(ranks, mirrored(a), shape, vectors);
          for (const std::int32_t status : found.status) EXPECT_EQ(status, not_finite);
          for (const auto& w : found.w) EXPECT_TRUE(all_nan(w));
          EXPECT_TRUE(all_nan(found.z));
        }
      }
    }
  }
}

// Same input, same bits.
TYPED_TEST_P(SyevdTest, IsDeterministic) {
  using T = typename TypeParam::Scalar;
  for (const EigenShape& shape : some_eigen_shapes<typename TypeParam::Ranks, T>()) {
    SCOPED_TRACE(shape);
    const auto a = random_hermitian<T>(shape.n, 3);
    typename TypeParam::Ranks one(shape.ranks), other(shape.ranks);
    const auto first = eigen(one, a, shape, true), second = eigen(other, a, shape, true);
    EXPECT_EQ(first.w, second.w);
    EXPECT_EQ(first.z, second.z);
  }
}

// All ranks receive the result of a single rank, bitwise.
TYPED_TEST_P(SyevdTest, OneRankSolvesForAllRanks) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  const auto choice = bandwidths<typename Ranks::Engine, T>();
  const std::int64_t b = choice.front();
  for (const int ranks : {2, 3, 4, 8}) {
    if (!Ranks::available(ranks)) continue;
    for (const std::int64_t n : {std::int64_t{1}, 2 * b + 5}) {
      for (const EigenvectorRange wanted : {EigenvectorRange{0, n}, {n / 2, n - n / 2}, {0, 0}}) {
        for (const bool finite : {true, false}) {
          const EigenShape single = eigen_shape(n, 1, n, b, 1);
          EigenShape shape{n, ranks, shard_of(n, ranks), single.blocking};
          shape.solo = true;
          SCOPED_TRACE(::testing::Message() << wanted.count << " from " << wanted.first << ", " << shape);
          auto a = random_hermitian<T>(n, 4);
          if (!finite) a(n - 1, n / 2) = not_a_number<T>();
          Ranks all(ranks), one(1);
          const auto found = eigen(all, a, shape, wanted);
          for (const std::int32_t status : found.status) EXPECT_EQ(status, finite ? 0 : not_finite);
          if (!finite) {
            for (const auto& w : found.w) EXPECT_TRUE(all_nan(w));
            EXPECT_TRUE(all_nan(found.z));
            continue;
          }
          const auto expected = eigen(one, a, single, wanted);
          for (const auto& w : found.w) EXPECT_EQ(w, expected.w[0]);
          EXPECT_EQ(found.z, expected.z);
          if (wanted.count == 0) continue;
          const Real<T> low = expected.w[0](n / 2, 0), high = std::numeric_limits<Real<T>>::infinity();
          Ranks all_again(ranks), one_again(1);
          const auto above = eigen(all_again, a, shape, {0, n}, EigenvectorForm::adjoint_rows, {low, high});
          const auto known = eigen(one_again, a, single, {0, n}, EigenvectorForm::columns, {low, high});
          EXPECT_EQ(above.z, known.z);
          for (const EigenvectorRange& range : above.found) EXPECT_EQ(range.first, known.found[0].first);
        }
      }
    }
  }
}

REGISTER_TYPED_TEST_SUITE_P(SyevdTest, SolvesMatricesOfAllShapes, SolvesHardMatrices, FindsPartOfTheEigenvectors,
                            ReturnsTheAdjoint, FindsEigenvectorsByValue, ScalesMatricesThatWouldOverOrUnderflow,
                            NonFiniteElementsGiveNan, IsDeterministic, OneRankSolvesForAllRanks);

}  // namespace jaxmg::testing
