// Plans of the routines of QR: workspace, agreement of tiles, estimates.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "gtest/gtest.h"
#include "matrices.h"
#include "qr_factors.h"
#include "ranks.h"
#include "residuals.h"
#include "routines/table.h"

namespace jaxmg::testing {
namespace {

using routines::Geqrf, routines::Ormqr, routines::Orgqr, routines::Rtrs, routines::Upper;

template <class R>
typename R::Problem request(Platform platform, std::int64_t m, std::int64_t n, std::int64_t ranks,
                            std::int64_t nrhs = 1, std::int64_t tile = 0) {
  typename R::Problem q{};
  q.platform = platform;
  q.m = m;
  q.n = n;
  if constexpr (requires { q.nrhs; }) q.nrhs = nrhs;
  q.ranks = ranks;
  q.tile = tile;
  return q;
}

// The workspace of the plan is what the routine carves, to the last piece.
TEST(QrPlan, RoutinesNeedExactlyTheWorkspaceOfThePlan) {
  for (const int ranks : {1, 2, 3, 8}) {
    for (const auto& [m, n] : std::vector<std::pair<std::int64_t, std::int64_t>>{{131, 131}, {150, 40}, {40, 90}}) {
      for (const std::int64_t tile : {0, 8}) {
        SCOPED_TRACE(::testing::Message() << m << " x " << n << " on " << ranks << " ranks, tile " << tile);
        const auto made = Geqrf::plan(request<Geqrf>(Platform::cpu, m, n, ranks, 1, tile));
        const QrShape shape{m, n, ranks, made.plan.tile, made.plan.slots};
        const auto call = qr_call<Geqrf, double>(shape);
        const auto a = random_matrix<double>(m, n, 1);
        HostRanks enough(ranks), too_few(ranks);
        EXPECT_THROW(geqrf(too_few, a, shape, call, made.workspace_bytes - Arena::alignment), Error);
        geqrf(enough, a, shape, call, made.workspace_bytes);
        // Routines that read the factor use its tile.
        const auto tile_of = [&]<class R>(R) {
          return R::plan(request<R>(Platform::cpu, m, n, ranks, 70, shape.tile)).plan.tile;
        };
        EXPECT_EQ(tile_of(Upper{}), shape.tile);
        EXPECT_EQ(tile_of(Orgqr{}), shape.tile);
        EXPECT_EQ(tile_of(Ormqr{}), shape.tile);
        if (m >= n) {
          EXPECT_EQ(tile_of(Rtrs{}), shape.tile);
        }
      }
    }
  }
}

TEST(QrPlan, WorkspaceIsBelowHalfTheShard) {
  for (const ScalarType type : {ScalarType::f64, ScalarType::c64, ScalarType::c128}) {
    for (const std::int64_t n : {16384, 32768, 65535, 65536}) {
      const auto check = [&]<class R>(R) {
        auto q = request<R>(Platform::cuda, n, n, 4);
        q.type = type;
        const auto plan = R::plan(q);
        EXPECT_LE(2 * plan.workspace_bytes, plan.shard_bytes) << R::name << ", n = " << n;
      };
      check(Geqrf{});
      check(Orgqr{});
    }
  }
}

// A, Q and the rows that reflectors are applied to, and little else.
TEST(QrPlan, MemoryOfTallLeastSquares) {
  auto q = request<routines::TallGels>(Platform::cuda, 4'000'000, 1024, 4);
  q.type = ScalarType::f32;
  const auto factor = routines::TallGels::plan(q);
  EXPECT_EQ(factor.shard_bytes, 2 * q.shard_bytes());
  EXPECT_LE(factor.workspace_bytes, 1.2 * static_cast<double>(q.shard_bytes()));
  auto of_solve = request<routines::Seminormal>(Platform::cuda, 4'000'000, 1024, 4);
  of_solve.type = ScalarType::f32;
  const auto solve = routines::Seminormal::plan(of_solve);
  EXPECT_LE(solve.workspace_bytes, 0.01 * static_cast<double>(q.shard_bytes()));
  EXPECT_GT(solve.rhs_bytes, 4'000'000);
  auto of_both = request<routines::Getsls>(Platform::cuda, 4'000'000, 1024, 4);
  of_both.type = ScalarType::f32;
  const auto both = routines::Getsls::plan(of_both);
  EXPECT_EQ(both.shard_bytes, q.shard_bytes());
  EXPECT_LE(both.workspace_bytes, 2.2 * static_cast<double>(q.shard_bytes()));
  EXPECT_LT(both.seconds, factor.seconds + solve.seconds);
}

TEST(QrPlan, LargerProblemsTakeLonger) {
  for (const Platform platform : {Platform::cpu, Platform::cuda}) {
    for (const std::int64_t ranks : {1, 4}) {
      const auto check = [&]<class R>(R) {
        double last = 0;
        for (const std::int64_t n : {1024, 4096, 8192, 16384, 32768, 65536}) {
          const double seconds = R::plan(request<R>(platform, 2 * n, n, ranks)).seconds;
          EXPECT_GT(seconds, last) << R::name << ", " << n;
          last = seconds;
        }
      };
      check(Geqrf{});
      check(Orgqr{});
      check(Ormqr{});
      check(routines::Tsqr{});
      check(routines::TallGels{});
      check(routines::Seminormal{});
      check(routines::Getsls{});
    }
  }
}

// Rows are moved for a square matrix, and stay for a tall one.
TEST(QrPlan, TallMatricesAreFasterByRows) {
  const auto saved = [](std::int64_t m, std::int64_t n) {
    return Geqrf::plan(request<Geqrf>(Platform::cuda, m, n, 4)).seconds -
           routines::Tsqr::plan(request<routines::Tsqr>(Platform::cuda, m, n, 4)).seconds;
  };
  EXPECT_GT(saved(1'000'000, 1000), 0);
  EXPECT_LT(saved(16384, 16384), 0);
}

TEST(QrPlan, ShapesAreChecked) {
  EXPECT_THROW(Rtrs::plan(request<Rtrs>(Platform::cpu, 4, 5, 1)), Error);
  EXPECT_THROW(routines::Tsqr::plan(request<routines::Tsqr>(Platform::cpu, 4, 5, 1)), Error);
  EXPECT_THROW(Geqrf::plan(request<Geqrf>(Platform::cpu, 0, 5, 1)), Error);
}

}  // namespace
}  // namespace jaxmg::testing
