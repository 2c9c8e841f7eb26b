// The CUDA engine's operations on tall matrices, against sums in double precision.
#include "engine/tall_ops.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <tuple>
#include <utility>
#include <vector>

#include "core/arena.h"
#include "core/arithmetic.h"
#include "core/larger.h"
#include "cuda_ranks.h"
#include "dealt.h"
#include "gtest/gtest.h"
#include "matrices.h"
#include "residuals.h"
#include "solves.h"
#include "typed.h"

namespace jaxmg::testing {
namespace {

template <class Parameter>
class TallOps : public ::testing::Test {};

TYPED_TEST_SUITE(TallOps, OnAllScalars<PeerRanks>);

// R = W - M^H X, G = M R and squared norms, for more rows and right-hand sides than one pass takes, or fewer; without
// W, in place of W, and with W of fewer columns than X.
TYPED_TEST(TallOps, ResidualsAndTheirProducts) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  const double eps = std::numeric_limits<Real<T>>::epsilon();
  enum class Right { none, other, same, fewer };
  JAXMG_NEEDS_RANKS(Ranks, 1);
  for (const auto& [n, m, columns] : {std::tuple{1, 1, 1},
                                      {3, 7, 2},
                                      {33, 1000, 1},
                                      {5, 70001, 1},
                                      {100, 777, 3},
                                      {9, 333, 5},
                                      {7, 500, 9},
                                      {600, 300, 2},
                                      {2100, 65, 1}}) {
    for (const Right right : {Right::none, Right::other, Right::same, Right::fewer}) {
      SCOPED_TRACE(::testing::Message() << n << " columns, " << m << " rows, " << columns << " right-hand sides, way "
                                        << static_cast<int>(right));
      const auto a = random_matrix<T>(n, m, 1), x = random_matrix<T>(n, columns, 2);
      const std::int64_t given = right == Right::none ? 0 : right == Right::fewer ? columns / 2 : columns;
      auto w = random_matrix<T>(m, columns, 3);
      std::fill_n(w.data() + m * given, m * (columns - given), T(0));
      Ranks ranks(1);
      auto of_a = ranks.template matrix<T>(n, m), of_x = ranks.template matrix<T>(n, columns);
      auto of_w = ranks.template matrix<T>(m, columns), of_r = ranks.template matrix<T>(m, columns);
      auto of_g = ranks.template matrix<T>(n + 1, columns);
      auto scratch = ranks.template matrix<T>(residual_scratch(m, n, columns), 1);
      of_a.upload(0, a);
      of_x.upload(0, x);
      (right == Right::same ? of_r : of_w).upload(0, w);
      ranks.run([&, m = m](auto& engine) {
        const auto of_right = (right == Right::same ? of_r : of_w).view(0).block(0, 0, m, given);
        engine.residual_products(Lane::panel, of_a.view(0), of_x.view(0), of_right, of_r.view(0), scratch.view(0).data,
                                 of_g.view(0));
      });
      const auto r = of_r.download(0), g = of_g.download(0);
      double error_of_r = 0, error_of_g = 0, error_of_squares = 0;
      for (std::int64_t k = 0; k < columns; ++k) {
        std::vector<Wide<T>> sums(static_cast<std::size_t>(n));
        double square = 0;
        for (std::int64_t i = 0; i < m; ++i) {
          Wide<T> left = Wide<T>(w(i, k)) - Wide<T>(r(i, k));
          const Wide<T> own(r(i, k));
          for (std::int64_t j = 0; j < n; ++j) {
            const Wide<T> element(a(j, i));
            left -= conjugate(element) * Wide<T>(x(j, k));
            sums[static_cast<std::size_t>(j)] += element * own;
          }
          error_of_r += std::norm(left);
          square += std::norm(own);
        }
        error_of_squares = larger_or_nan(error_of_squares, std::abs(square - Wide<T>(g(n, k))));
        for (std::int64_t j = 0; j < n; ++j)
          error_of_g += std::norm(sums[static_cast<std::size_t>(j)] - Wide<T>(g(j, k)));
      }
      const double size = frobenius(w) + frobenius(a) * frobenius(x);
      EXPECT_LE(std::sqrt(error_of_r), (n + 4) * eps * size);
      EXPECT_LE(std::sqrt(error_of_g), (m + 4) * eps * frobenius(a) * frobenius(r));
      EXPECT_LE(error_of_squares, (m + 4) * eps * frobenius(r) * frobenius(r));
    }
  }
}

// Operands have 11 bits: by Cauchy's inequality, the error of a product is at most 2^-10 times the roots of its two
// diagonal elements. Tensor cores truncate sums of up to 4096 terms, which takes as much again. Rows are rounded
// in parts where a rank has more than 2^18; `planned` may be more than a rank has. Columns differ in size. Products
// with W have the accuracy of float32.
TEST(RoundedGram, HasTheAccuracyOfItsElements) {
  JAXMG_NEEDS_RANKS(PeerRanks, 1);
  for (const auto& [n, m, planned] : {std::tuple{1, 40, 40},
                                      {17, 30, 30},
                                      {24, 5, 5000},
                                      {260, 4500, 4500},
                                      {260, 1000, 9001},
                                      {2060, 40, 40},
                                      {1021, 301, 301},
                                      {9, 300001, 300001}}) {
    SCOPED_TRACE(::testing::Message() << n << " columns, " << m << " of " << planned << " rows");
    const auto w = random_matrix<float>(m, 1, 5);
    auto a = random_matrix<float>(n, m, 4);
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) a(j, i) = j == 3 ? 0.0F : std::ldexp(a(j, i), static_cast<int>(j % 60) - 30);
    }
    const RoundedGramSizes sizes{n, planned};
    PeerRanks ranks(1);
    auto of_a = ranks.matrix<float>(n, m), gram = ranks.matrix<float>(n, n), scales = ranks.matrix<float>(n, 1);
    auto halves = ranks.matrix<Half>(sizes.pitch(), sizes.rows());
    auto partials = ranks.matrix<float>(sizes.partials(), 1);
    auto of_w = ranks.matrix<float>(m, 1), scratch = ranks.matrix<float>(residual_scratch(m, n, 1), 1);
    auto products = ranks.matrix<float>(n, 1);
    of_a.upload(0, a);
    of_w.upload(0, w);
    ranks.run([&, n = n](auto& engine) {
      const auto rounded = halves.view(0).block(0, 0, n, sizes.rows());
      engine.rounded_gram(Lane::panel, sizes, of_a.view(0), of_w.view(0), scales.view(0).data, rounded,
                          partials.view(0).data, gram.view(0), scratch.view(0).data, products.view(0));
    });
    const auto found_products = products.download(0);
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0, size = 0;
      for (std::int64_t i = 0; i < m; ++i) {
        const double term = static_cast<double>(a(j, i)) * static_cast<double>(w(i, 0));
        sum += term;
        size += std::abs(term);
      }
      EXPECT_LE(std::abs(sum + static_cast<double>(found_products(j, 0))), 1e-7 * static_cast<double>(m) * size);
    }
    Matrix<double> expected(n, n);
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        const double element = a(j, i);
        for (std::int64_t k = j; k < n; ++k) expected(k, j) += element * static_cast<double>(a(k, i));
      }
    }
    const auto found = gram.download(0);
    double worst = 0;
    for (std::int64_t j = 0; j < n; ++j) {
      for (std::int64_t k = j; k < n; ++k) {
        const double size = std::sqrt(expected(j, j) * expected(k, k)),
                     error = std::abs(static_cast<double>(found(k, j)) + expected(k, j));
        if (size == 0) {
          EXPECT_EQ(error, 0) << "element " << k << ", " << j;
        } else {
          worst = larger_or_nan(worst, error / size);
        }
      }
    }
    EXPECT_LE(worst, 0x1p-9);
  }
}

}  // namespace
}  // namespace jaxmg::testing
