#include <algorithm>
#include <concepts>
#include <cstdint>

#include "core/error.h"
#include "gtest/gtest.h"
#include "routines/served/cusolvermp/cholesky.h"
#include "routines/served/cusolvermp/eigen.h"
#include "routines/served/cusolvermp/lu.h"
#include "routines/served/cusolvermp/qr.h"
#include "routines/served/cusolvermp/svd.h"

namespace jaxmg::testing {
namespace {

using Posv = Served<CusolverMp, routines::Posv>;
using Potrf = Served<CusolverMp, routines::Potrf>;
using Syevd = Served<CusolverMp, routines::Syevd>;
using Gesv = Served<CusolverMp, routines::Gesv>;
using Geqrf = Served<CusolverMp, routines::Geqrf>;
using Gesvd = Served<CusolverMp, routines::Gesvd>;
using Polar = Served<CusolverMp, routines::Polar>;

template <class R>
typename R::Problem request(std::int64_t n, std::int64_t count, std::int64_t ranks, std::int64_t tile = 0) {
  typename R::Problem q{};
  q.platform = Platform::cuda;
  q.n = n;
  q.ranks = ranks;
  q.tile = tile;
  q.one_rank_up_to = 0;
  if constexpr (requires { q.nrhs; }) q.nrhs = count;
  if constexpr (requires { q.vectors; }) q.vectors = std::same_as<R, Gesvd> ? n : count;
  if constexpr (requires { q.m; } && !std::same_as<R, Gesvd>) q.m = n + count;
  return q;
}

template <class R>
void expect_plans() {
  for (const std::int64_t ranks : {1, 2, 3, 4, 8}) {
    for (const std::int64_t n : {1, 2, 5, 100, 4096, 50000, 200000}) {
      for (const std::int64_t tile : {0, 1, 300, 1000000}) {
        const auto q = request<R>(n, std::min<std::int64_t>(n, 100), ranks, tile);
        SCOPED_TRACE(::testing::Message() << "n = " << n << " on " << ranks << " ranks, tile " << tile);
        const auto made = R::plan(q);
        EXPECT_GE(made.plan.block, 1);
        EXPECT_LE(made.plan.block, n);
        EXPECT_LE((n + made.plan.block - 1) / made.plan.block, 256);
        EXPECT_GT(made.seconds, 0);
        EXPECT_EQ(made.workspace_bytes, typename R::template Workspace<double>(Arena(), q, made.plan).bytes() +
                                            engine_scratch_bytes(q.platform, 0, 1));
        // Copies of the shard for which there is room in large matrices.
        constexpr double copies = std::same_as<R, Gesvd> || std::same_as<R, Polar> ? 3.5
                                  : std::same_as<R, Syevd>                         ? 2.5
                                                                                   : 1.5;
        if (n >= 50000 && tile == 0) {
          EXPECT_LE(made.workspace_bytes, copies * static_cast<double>(made.shard_bytes));
        }
      }
    }
  }
}

TEST(GridPlan, EveryRequestHasAPlan) {
  expect_plans<Posv>();
  expect_plans<Potrf>();
  expect_plans<Syevd>();
  expect_plans<Gesv>();
  expect_plans<Geqrf>();
  expect_plans<Gesvd>();
  expect_plans<Polar>();
}

// Right-hand sides are solved for one after another, and every pivot is searched for along the network.
TEST(GridPlan, LuIsExpectedToTakeLongerThanOursOnOneHost) {
  for (const std::int64_t n : {1024, 16384, 65536}) {
    for (const std::int64_t nrhs : {1, 1000}) {
      const auto q = request<Gesv>(n, nrhs, 4);
      EXPECT_GT(Gesv::plan(q).seconds, routines::Gesv::plan(q).seconds) << n << ", " << nrhs;
    }
  }
}

template <class R>
void expect_no_blocks() {
  auto q = request<R>(4096, 1, 8);
  q.grid_rows = 4;
  EXPECT_THROW(R::plan(q), Error);
}

TEST(GridPlan, OnlySystemsAndEigenproblemsAreTakenInBlocks) {
  expect_no_blocks<Gesv>();
  expect_no_blocks<Geqrf>();
  expect_no_blocks<Gesvd>();
  expect_no_blocks<Polar>();
}

// Each column of a panel takes two steps of a chain down a column of the grid, and the library's singular value
// decomposition reduces a matrix to tridiagonal form in one stage.
TEST(GridPlan, QrAndSvdAreExpectedToTakeLongerThanOursOnOneHost) {
  for (const std::int64_t n : {1024, 16384, 65536}) {
    const auto qr = request<Geqrf>(n, 1, 4);
    EXPECT_GT(Geqrf::plan(qr).seconds, routines::Geqrf::plan(qr).seconds) << n;
    const auto svd = request<Gesvd>(n, n, 4);
    EXPECT_GT(Gesvd::plan(svd).seconds, routines::Gesvd::plan(svd).seconds) << n;
  }
}

TEST(GridPlan, EigenvaluesAloneNeedNoWorkspaceForVectors) {
  const auto bytes = [](std::int64_t vectors) { return Syevd::plan(request<Syevd>(4096, vectors, 4)).workspace_bytes; };
  EXPECT_EQ(bytes(4096) - bytes(0), std::int64_t{2048} * 2048 * 8);
}

TEST(GridPlan, FactorsHaveTheTilesOfOurOwnBackend) {
  for (const std::int64_t n : {100, 4096, 50000}) {
    const auto q = request<Potrf>(n, 1, 4);
    EXPECT_EQ(Potrf::plan(q).plan.tile, routines::Potrf::plan(q).plan.tile);
  }
}

TEST(GridPlan, GridMayFollowTheMesh) {
  auto q = request<Posv>(4096, 1, 8);
  q.grid_rows = 4;
  EXPECT_NO_THROW(Posv::plan(q));
  EXPECT_EQ(q.grid(), (ProcessGrid{4, 2}));
  q.grid_rows = 3;
  EXPECT_THROW(Posv::plan(q), Error);
  auto kept = request<Potrf>(4096, 1, 8);
  kept.grid_rows = 4;
  EXPECT_THROW(Potrf::plan(kept), Error) << "a factor that is returned requires a row-sharded matrix";
}

TEST(GridPlan, RejectsSizesOutOfRangeAndCpus) {
  EXPECT_THROW(Posv::plan(request<Posv>(0, 1, 4)), Error);
  auto on_cpu = request<Posv>(100, 1, 4);
  on_cpu.platform = Platform::cpu;
  EXPECT_THROW(Posv::plan(on_cpu), Error);
}

}  // namespace
}  // namespace jaxmg::testing
