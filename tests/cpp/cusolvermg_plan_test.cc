#include "backends/cusolvermg_plan.h"

#include <cstdint>

#include "backends/cusolvermg_workspace.h"
#include "core/error.h"
#include "gtest/gtest.h"

namespace jaxmg::testing {
namespace {

PlanRequest request(Routine routine, std::int64_t n, std::int64_t ranks, std::int64_t tile = 0) {
  return {routine, n, 1, ScalarType::f64, ranks, tile, Platform::cuda, 1, 0};
}

TEST(CusolverMgPlan, WorkspaceHoldsWhatIsCarved) {
  for (const std::int64_t ranks : {1, 4}) {
    for (const std::int64_t n : {1, 1000, 4099}) {
      for (const Routine routine : {Routine::posv, Routine::potrf, Routine::potrs, Routine::potri, Routine::syevd}) {
        SCOPED_TRACE(::testing::Message()
                     << "routine " << static_cast<int>(routine) << ", n = " << n << " on " << ranks);
        const Plan plan = make_cusolvermg_plan(request(routine, n, ranks));
        const TileColumns layout(n, (n + ranks - 1) / ranks, plan.tile, static_cast<int>(ranks));
        const std::int64_t scratch = engine_scratch_bytes(Platform::cuda, 0, 1);
        const std::int64_t carved =
            routine == Routine::syevd
                ? CusolverMgSyevdStages<double>(Arena(), layout, (1 + ranks - 1) / ranks).memory.bytes()
                : CusolverMgStages<double>(Arena(), layout, plan.pivot, plan.slots, routine == Routine::potri)
                      .memory.bytes();
        EXPECT_EQ(plan.workspace_bytes, carved + scratch);
        EXPECT_GT(plan.seconds, 0);
      }
    }
  }
}

// Where the tile divides the shard, the library works on the matrix itself.
TEST(CusolverMgPlan, OnlyRaggedTilesCostACopy) {
  const std::int64_t n = 4096, shard = n / 4, bytes = shard * n * 8;
  const auto workspace = [&](std::int64_t tile) {
    return make_cusolvermg_plan(request(Routine::potrf, n, 4, tile)).workspace_bytes;
  };
  EXPECT_LT(workspace(256), bytes / 2);
  EXPECT_GT(workspace(255), bytes);
}

// A factor that one backend made is used by the other.
TEST(CusolverMgPlan, TilesOfFactorsAreThoseOfOurBackend) {
  for (const std::int64_t n : {100, 5000, 32768}) {
    const std::int64_t ours = make_plan(request(Routine::potrf, n, 4)).tile;
    for (const Routine routine : {Routine::posv, Routine::potrf, Routine::potrs, Routine::potri}) {
      EXPECT_EQ(make_cusolvermg_plan(request(routine, n, 4)).tile, ours);
    }
  }
}

TEST(CusolverMgPlan, EigensolverTakesNoWideTiles) {
  EXPECT_EQ(make_cusolvermg_plan(request(Routine::syevd, 16384, 4, 2048)).tile, 1024);
  EXPECT_LE(make_cusolvermg_plan(request(Routine::syevd, 16384, 1)).tile, 1024);
}

TEST(CusolverMgPlan, RefusesWhatItCannotDo) {
  PlanRequest q = request(Routine::potrf, 100, 2);
  q.platform = Platform::cpu;
  EXPECT_THROW(make_cusolvermg_plan(q), Error);
  q = request(Routine::potrf, 100, 2);
  q.processes = 2;
  EXPECT_THROW(make_cusolvermg_plan(q), Error);
  EXPECT_THROW(make_cusolvermg_plan(request(Routine::lower, 100, 2)), Error);
}

}  // namespace
}  // namespace jaxmg::testing
