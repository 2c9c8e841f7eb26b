#include <algorithm>
#include <cstdint>

#include "core/error.h"
#include "gtest/gtest.h"
#include "routines/served/cusolvermg/cholesky.h"
#include "routines/served/cusolvermg/eigen.h"
#include "routines/served/cusolvermg/lu.h"

namespace jaxmg::testing {
namespace {

template <class R>
using Mg = Served<CusolverMg, R>;

template <class R>
typename Mg<R>::Problem request(std::int64_t n, std::int64_t ranks, std::int64_t tile = 0) {
  typename Mg<R>::Problem q{};
  q.platform = Platform::cuda;
  q.n = n;
  q.ranks = ranks;
  q.tile = tile;
  q.one_rank_up_to = 0;
  if constexpr (requires { q.vectors; }) q.vectors = 1;
  return q;
}

template <class R>
void expect_carved() {
  for (const std::int64_t ranks : {1, 4}) {
    for (const std::int64_t n : {1, 1000, 4099}) {
      SCOPED_TRACE(::testing::Message() << R::name << ", n = " << n << " on " << ranks);
      const auto q = request<R>(n, ranks);
      const auto made = Mg<R>::plan(q);
      EXPECT_EQ(made.plan.largest_potrf, 0);
      EXPECT_EQ(made.workspace_bytes, typename Mg<R>::template Workspace<double>(Arena(), q, made.plan).bytes() +
                                          engine_scratch_bytes(Platform::cuda, 0, 1));
      EXPECT_GT(made.seconds, 0);
    }
  }
}

TEST(CusolverMgPlan, WorkspaceHoldsWhatIsCarved) {
  expect_carved<routines::Posv>();
  expect_carved<routines::Potrf>();
  expect_carved<routines::Potrs>();
  expect_carved<routines::Potri>();
  expect_carved<routines::Syevd>();
  expect_carved<routines::Gesv>();
}

// Not measured yet: a call that leaves the choice to the library gets our own LU, which does not transpose A.
TEST(CusolverMgPlan, LuIsExpectedToTakeLongerThanOurs) {
  for (const std::int64_t n : {1024, 16384, 65536}) {
    for (const std::int64_t nrhs : {1, 1000}) {
      auto q = request<routines::Gesv>(n, 4);
      q.nrhs = nrhs;
      EXPECT_GT(Mg<routines::Gesv>::plan(q).seconds, routines::Gesv::plan(q).seconds) << n << ", " << nrhs;
    }
  }
}

// If the tile divides the shard, the library works on the matrix itself.
TEST(CusolverMgPlan, OnlyRaggedTilesCostACopy) {
  const std::int64_t n = 4096, shard = n / 4, bytes = shard * n * 8;
  const auto workspace = [&](std::int64_t tile) {
    return Mg<routines::Potrf>::plan(request<routines::Potrf>(n, 4, tile)).workspace_bytes;
  };
  EXPECT_LT(workspace(256), bytes / 2);
  EXPECT_GT(workspace(255), bytes);
}

template <class R>
std::int64_t tile_of(std::int64_t n, std::int64_t ranks, std::int64_t tile = 0) {
  return Mg<R>::plan(request<R>(n, ranks, tile)).plan.tile;
}

// Each backend accepts factors of the other.
TEST(CusolverMgPlan, TilesOfFactorsMatchOurBackend) {
  for (const std::int64_t n : {100, 5000, 32768}) {
    const std::int64_t ours = routines::Potrf::plan(request<routines::Potrf>(n, 4)).plan.tile;
    EXPECT_EQ(tile_of<routines::Posv>(n, 4), ours);
    EXPECT_EQ(tile_of<routines::Potrf>(n, 4), ours);
    EXPECT_EQ(tile_of<routines::Potrs>(n, 4), ours);
    EXPECT_EQ(tile_of<routines::Potri>(n, 4), ours);
  }
}

TEST(CusolverMgPlan, EigensolverLimitsTheTile) {
  EXPECT_EQ(tile_of<routines::Syevd>(16384, 4, 2048), 1024);
  EXPECT_LE(tile_of<routines::Syevd>(16384, 1), 1024);
}

TEST(CusolverMgPlan, RejectsOtherPlatformsSeveralProcessesAndTriangularSolves) {
  auto q = request<routines::Potrf>(100, 2);
  q.platform = Platform::cpu;
  EXPECT_THROW(Mg<routines::Potrf>::plan(q), Error);
  q = request<routines::Potrf>(100, 2);
  q.processes = 2;
  EXPECT_THROW(Mg<routines::Potrf>::plan(q), Error);
  auto solve = request<routines::Potrs>(100, 2);
  solve.sweeps = Sweeps::forward;
  EXPECT_THROW(Mg<routines::Potrs>::plan(solve), Error);
}

}  // namespace
}  // namespace jaxmg::testing
