// Triangular solves by one kernel on each GPU, with every triangle, layout and scalar type.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "algorithms/triangular/trsm_few.h"
#include "comm/block.h"
#include "core/error.h"
#include "core/larger.h"
#include "cuda_ranks.h"
#include "dealt.h"
#include "engine/cuda/launch_order.h"
#include "gtest/gtest.h"
#include "matrices.h"
#include "residuals.h"
#include "solves.h"
#include "trsm_checks.h"
#include "typed.h"

namespace jaxmg::testing {

// trsm_checks.h has the triangles of trsm_test, whose own tests run there.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Trsm);

namespace {

template <class Parameter>
class Sweep : public ::testing::Test {
 protected:
  using T = typename Parameter::Scalar;
  using Ranks = typename Parameter::Ranks;

  // X of each rank, with the rows of all tiles.
  static std::vector<Matrix<T>> solve(const Matrix<T>& factor, const Matrix<T>& b, const TileColumns& layout,
                                      const TriangularSystem& system) {
    Ranks ranks(layout.ranks());
    Arena needed;
    TrsmFewWorkspace<T>(needed, layout, b.columns());
    auto shards = ranks.template matrix<T>(layout.order(), layout.shard());
    auto x = ranks.template matrix<T>(layout.order(), b.columns());
    auto workspace = ranks.template matrix<std::byte>(needed.used(), 1);
    upload(shards, dealt(factor, layout));
    upload(x, std::vector<Matrix<T>>(static_cast<std::size_t>(layout.ranks()), b));
    ranks.run([&](auto& engine) {
      EXPECT_TRUE(engine.can_sweep());
      const int rank = engine.rank();
      Arena arena = arena_over(workspace.view(rank));
      TrsmFewWorkspace<T> w(arena, layout, b.columns());
      TrsmFew<T, typename Ranks::Engine> sweeps(engine, layout, shards.view(rank), x.view(rank), w);
      sweeps.solve(system);
      if (system.op == Op::none) sweeps.share();
    });
    return download(x, layout.ranks());
  }

  // The largest |A X - B| / (|A| |X|) of an element.
  static double largest_error(const Matrix<T>& a, const Matrix<T>& x, const Matrix<T>& b) {
    double worst = 0;
    for (std::int64_t j = 0; j < b.columns(); ++j) {
      for (std::int64_t i = 0; i < b.rows(); ++i) {
        T sum = -b(i, j);
        double size = 0;
        for (std::int64_t k = 0; k < b.rows(); ++k) {
          const T product = a(i, k) * x(k, j);
          sum += product;
          size += static_cast<double>(std::abs(product));
        }
        worst = larger_or_nan(worst, static_cast<double>(std::abs(sum)) / size);
      }
    }
    return worst;
  }

  static std::vector<TriangularSystem> systems() {
    std::vector<TriangularSystem> all;
    for (const Uplo uplo : {Uplo::lower, Uplo::upper}) {
      for (const Op op : {Op::none, Op::transpose, Op::conj_transpose}) {
        for (const Diag diag : {Diag::non_unit, Diag::unit}) all.push_back({uplo, op, diag});
      }
    }
    return all;
  }
  static std::vector<int> rank_counts() {
    std::vector<int> all;
    for (const int ranks : {2, 3, 4, 8}) {
      if (Ranks::available(ranks)) all.push_back(ranks);
    }
    return all;
  }
};

TYPED_TEST_SUITE(Sweep, OnAllScalars<PeerRanks>);

// Every row: |op(F) X - B| <= 2 n eps |op(F)| |X|, as for substitution. Elements of the other triangle are NaN.
TYPED_TEST(Sweep, SolvesWithEveryTriangleAndLayout) {
  using T = typename TypeParam::Scalar;
  JAXMG_NEEDS_RANKS(TypeParam::Ranks, 2);
  for (const int ranks : this->rank_counts()) {
    for (const auto& [n, tile] : {std::pair{1, 1}, {7, 3}, {97, 32}, {520, 300}}) {
      const std::int64_t shard = shard_of(n, ranks);
      const TileColumns layout(n, shard, std::min<std::int64_t>(tile, shard), ranks);
      for (const std::int64_t nrhs : {1, 3}) {
        for (const TriangularSystem& system : this->systems()) {
          const Triangle t{Side::left, system.uplo, system.op, system.diag};
          SCOPED_TRACE(::testing::Message() << t << ", order " << n << " on " << ranks << " ranks, tile " << tile
                                            << ", " << nrhs << " right-hand sides");
          const Matrix<T> factor = triangle<T>(n, system.uplo, system.diag), full = expanded(factor, t);
          const Matrix<T> b = random_matrix<T>(n, nrhs, 2);
          const auto found = this->solve(factor, b, layout, system);
          for (const auto& other : found) EXPECT_EQ(other, found[0]);
          EXPECT_LE(this->largest_error(full, found[0], b),
                    2 * static_cast<double>(n + 4) * std::numeric_limits<Real<T>>::epsilon());
        }
      }
    }
  }
}

// The same bound, whatever the condition number of the diagonal pieces: 1.2^31 to 2^31, between which the kernel stops
// multiplying by their inverses.
TYPED_TEST(Sweep, SolvesWithIllConditionedPieces) {
  using T = typename TypeParam::Scalar;
  JAXMG_NEEDS_RANKS(TypeParam::Ranks, 2);
  const std::int64_t n = 200, shard = shard_of(n, 2);
  const TileColumns layout(n, shard, 64, 2);
  for (const double element : {0.2, 0.4, 0.6, 1.0}) {
    for (const Op op : {Op::none, Op::conj_transpose}) {
      SCOPED_TRACE(::testing::Message() << "elements -" << element << (op == Op::none ? "" : ", transposed"));
      Matrix<T> factor(n, n);
      for (std::int64_t j = 0; j < n; ++j) {
        factor(j, j) = T(1);
        // Elements within 32 of the diagonal, or X would overflow.
        for (std::int64_t i = j + 1; i < std::min(n, (j / 32 + 1) * 32); ++i)
          factor(i, j) = T(static_cast<Real<T>>(-element));
      }
      const Matrix<T> b = random_matrix<T>(n, 1, 7);
      const auto found = this->solve(factor, b, layout, {Uplo::lower, op, Diag::non_unit});
      const Matrix<T> full = expanded(factor, {Side::left, Uplo::lower, op, Diag::non_unit});
      EXPECT_LE(this->largest_error(full, found[0], b),
                2 * static_cast<double>(32 + 4) * std::numeric_limits<Real<T>>::epsilon());
    }
  }
}

// The bits do not depend on when numbers arrive.
TYPED_TEST(Sweep, RepeatedSolvesGiveTheSameBits) {
  using T = typename TypeParam::Scalar;
  JAXMG_NEEDS_RANKS(TypeParam::Ranks, 2);
  for (const int ranks : this->rank_counts()) {
    const std::int64_t n = 600, shard = shard_of(n, ranks);
    const TileColumns layout(n, shard, std::min<std::int64_t>(70, shard), ranks);
    for (const Op op : {Op::none, Op::conj_transpose}) {
      const TriangularSystem system{Uplo::lower, op, Diag::non_unit};
      SCOPED_TRACE(::testing::Message() << ranks << " ranks" << (system.op == Op::none ? "" : ", transposed"));
      const Matrix<T> factor = triangle<T>(n, system.uplo, system.diag), b = random_matrix<T>(n, 2, 3);
      const auto first = this->solve(factor, b, layout, system);
      for (int turn = 0; turn < 3; ++turn) EXPECT_EQ(this->solve(factor, b, layout, system), first);
    }
  }
}

// Rows before a NaN, an infinity or a zero pivot are finite, and the others are not, as in substitution. NaNs of every
// kind arrive, those whose bits are all set, too.
TYPED_TEST(Sweep, NansReachLaterUnknownsAndNoOthers) {
  using T = typename TypeParam::Scalar;
  JAXMG_NEEDS_RANKS(TypeParam::Ranks, 2);
  T all_bits{};
  std::memset(static_cast<void*>(&all_bits), 0xff, sizeof(all_bits));
  for (const int ranks : this->rank_counts()) {
    const std::int64_t n = 300, at = 133, shard = shard_of(n, ranks);
    const TileColumns layout(n, shard, std::min<std::int64_t>(100, shard), ranks);
    for (const TriangularSystem& system : this->systems()) {
      if (system.diag == Diag::unit) continue;
      for (const T value : {all_bits, not_a_number<T>(), T(0)}) {
        const Triangle t{Side::left, system.uplo, system.op, system.diag};
        SCOPED_TRACE(::testing::Message() << t << ", value " << value << " on " << ranks << " ranks");
        Matrix<T> factor = triangle<T>(n, system.uplo, system.diag);
        const Matrix<T> b = random_matrix<T>(n, 2, 4);
        factor(at, at) = value;
        const auto x = this->solve(factor, b, layout, system)[0];
        for (std::int64_t i = 0; i < n; ++i) {
          const bool before = system.ascending() ? i < at : i > at;
          const bool finite = std::isfinite(std::real(x(i, 1))) && std::isfinite(std::imag(x(i, 1)));
          ASSERT_EQ(finite, before) << "unknown " << i;
        }
      }
    }
  }
}

// Diagonal elements whose reciprocals overflow, and multipliers that overflow when divided by the diagonal.
TYPED_TEST(Sweep, SolvesBadlyScaledSystems) {
  using T = typename TypeParam::Scalar;
  JAXMG_NEEDS_RANKS(TypeParam::Ranks, 2);
  const auto tiny = std::numeric_limits<Real<T>>::denorm_min() * 4;
  const auto large = std::sqrt(std::numeric_limits<Real<T>>::max());
  for (const int ranks : this->rank_counts()) {
    const std::int64_t n = 90, shard = shard_of(n, ranks);
    const TileColumns layout(n, shard, std::min<std::int64_t>(32, shard), ranks);
    Matrix<T> factor(n, n), b = random_matrix<T>(n, 1, 5);
    for (std::int64_t i = 0; i < n; ++i) factor(i, i) = T(1);
    factor(5, 5) = T(tiny);
    b(5, 0) = T(tiny * 3);
    factor(40, 40) = T(1 / large);
    factor(40, 33) = T(large * large / 16);
    b(33, 0) = T(0);
    b(40, 0) = T(2 / large);
    const auto x = this->solve(factor, b, layout, {Uplo::lower, Op::none, Diag::non_unit})[0];
    for (std::int64_t i = 0; i < n; ++i) {
      const T expected = i == 5 ? T(3) : i == 40 ? T(2) : b(i, 0);
      EXPECT_LE(std::abs(x(i, 0) - expected), 8 * std::numeric_limits<Real<T>>::epsilon()) << "unknown " << i;
    }
  }
}

// Unknowns near the largest number, of pieces with x_i - 2 x_i-1 = b_i, and a condition number of 2^18: terms of the
// product with the inverse overflow, which substitution does not form. All numbers are powers of two, and exact.
TYPED_TEST(Sweep, SolvesForUnknownsNearTheLargestNumber) {
  using T = typename TypeParam::Scalar;
  using R = Real<T>;
  JAXMG_NEEDS_RANKS(TypeParam::Ranks, 2);
  const R value = std::ldexp(R(1), std::numeric_limits<R>::max_exponent - 3);
  for (const int ranks : this->rank_counts()) {
    const std::int64_t n = 90, shard = shard_of(n, ranks);
    const TileColumns layout(n, shard, std::min<std::int64_t>(32, shard), ranks);
    for (const std::int64_t nrhs : {1, 3}) {
      for (const Op op : {Op::none, Op::conj_transpose}) {
        SCOPED_TRACE(::testing::Message()
                     << ranks << " ranks, " << nrhs << " right-hand sides" << (op == Op::none ? "" : ", transposed"));
        const bool ascending = op == Op::none;
        Matrix<T> factor(n, n), b(n, nrhs);
        for (std::int64_t i = 0; i < n; ++i) {
          factor(i, i) = T(1);
          for (std::int64_t j = 0; j < nrhs; ++j) b(i, j) = T(value);
        }
        // Chains of 16 unknowns, also where a tile ends within one.
        for (std::int64_t i = 1; i < n; ++i) {
          if (i % 16 == 0) continue;
          factor(i, i - 1) = T(-2);
          for (std::int64_t j = 0; j < nrhs; ++j) b(ascending ? i : i - 1, j) = T(-value);
        }
        const auto x = this->solve(factor, b, layout, {Uplo::lower, op, Diag::non_unit})[0];
        for (std::int64_t j = 0; j < nrhs; ++j) {
          for (std::int64_t i = 0; i < n; ++i) EXPECT_EQ(x(i, j), T(value)) << "unknown " << i;
        }
      }
    }
  }
}

// Ranks wait for the end of a turn before they make other calls of CUDA.
TEST(LaunchOrder, ATurnEndsWithItsLastRankOrAnError) {
  cuda::LaunchOrder order;
  const int one = 1, other = 2;
  const auto first = order.begin(&one, 2);
  EXPECT_EQ(order.begin(&one, 2), first);
  EXPECT_EQ(order.begin(&other, 2), 0);
  order.end(&one);
  EXPECT_FALSE(order.has_ended(first));
  order.end(&one);
  EXPECT_TRUE(order.has_ended(first));
  const auto second = order.begin(&other, 2);
  EXPECT_GT(second, first);
  EXPECT_TRUE(order.has_ended(first));
  EXPECT_FALSE(order.has_ended(second));
  order.drop(&one);
  EXPECT_FALSE(order.has_ended(second));
  order.drop(&other);
  EXPECT_TRUE(order.has_ended(second));
}

// A rank fails between the exchange after which all kernels are launched and its own launch. The kernels of the others
// would wait for it indefinitely: the failure ends them, and the next call works.
TEST(SweepFaults, KernelsEndWhenARankFailsBeforeItsLaunch) {
  using T = double;
  JAXMG_NEEDS_RANKS(PeerRanks, 2);
  const std::int64_t n = 900, shard = shard_of(n, 2);
  const TileColumns layout(n, shard, 100, 2);
  const Matrix<T> factor = triangle<T>(n, Uplo::lower, Diag::non_unit), b = random_matrix<T>(n, 1, 6);
  for (const bool fails : {true, false}) {
    PeerRanks ranks(2);
    Arena needed;
    TrsmFewWorkspace<T>(needed, layout, 1);
    auto shards = ranks.matrix<T>(n, shard);
    auto x = ranks.matrix<T>(n, 1);
    auto workspace = ranks.matrix<std::byte>(needed.used(), 1);
    upload(shards, dealt(factor, layout));
    upload(x, std::vector<Matrix<T>>(2, b));
    const auto began = std::chrono::steady_clock::now();
    const auto thrown = ranks.try_run([&](auto& engine) {
      const int rank = engine.rank();
      Arena arena = arena_over(workspace.view(rank));
      TrsmFewWorkspace<T> w(arena, layout, 1);
      if (fails && rank == 1) {
        std::vector<Block> greetings;
        for (int r = 0; r < 2; ++r) {
          const MatrixView<T> number = w.sweep.present.block(r, 0, 1, 1);
          greetings.push_back(make_block(r, all_ranks, number, number));
        }
        engine.exchange(Lane::panel, greetings);
        throw Error(ErrorCode::internal, "injected fault");
      }
      TrsmFew<T, PeerRanks::Engine>(engine, layout, shards.view(rank), x.view(rank), w)
          .solve({Uplo::lower, Op::conj_transpose, Diag::non_unit});
    });
    EXPECT_LE(std::chrono::steady_clock::now() - began, std::chrono::seconds(20));
    for (const auto& error : thrown) EXPECT_EQ(error != nullptr, fails);
    if (!fails) {
      const Triangle t{Side::left, Uplo::lower, Op::conj_transpose, Diag::non_unit};
      EXPECT_LE(solve_error(expanded(factor, t), x.download(0), b), 3);
    }
  }
}

}  // namespace
}  // namespace jaxmg::testing
