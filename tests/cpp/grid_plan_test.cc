#include "backends/grid_plan.h"

#include <algorithm>
#include <cstdint>

#include "backends/block_cyclic_cholesky.h"
#include "backends/block_cyclic_eigen.h"
#include "core/error.h"
#include "gtest/gtest.h"

namespace jaxmg::testing {
namespace {

PlanRequest request(Routine routine, std::int64_t n, std::int64_t nrhs, std::int64_t ranks, std::int64_t tile = 0) {
  return {routine, n, nrhs, ScalarType::f64, ranks, tile, Platform::cuda, 1, 0};
}

// The workspace that a call carves must be what was planned.
std::int64_t carved(const PlanRequest& q, const Plan& plan, ProcessGrid grid) {
  if (q.routine == Routine::syevd) {
    return BlockCyclicEigenWorkspace<double>(Arena(), q.n, (q.nrhs + q.ranks - 1) / q.ranks, plan.tile, grid).bytes;
  }
  const std::int64_t share = (q.nrhs + q.ranks - 1) / q.ranks;
  const std::int64_t nrhs = q.routine == Routine::potrf ? 0 : plan.distributed_rhs != 0 ? share * q.ranks : q.nrhs;
  return BlockCyclicCholeskyWorkspace<double>(Arena(), q.n, nrhs, plan.pivot, grid).bytes;
}

TEST(GridPlan, EveryRequestIsMet) {
  for (const Routine routine : {Routine::posv, Routine::potrf, Routine::syevd}) {
    for (const std::int64_t ranks : {1, 2, 3, 4, 8}) {
      for (const std::int64_t n : {1, 2, 5, 100, 4096, 50000, 200000}) {
        for (const std::int64_t tile : {0, 1, 300, 1000000}) {
          const PlanRequest q =
              request(routine, n, routine == Routine::potrf ? 1 : std::min<std::int64_t>(n, 100), ranks, tile);
          SCOPED_TRACE(::testing::Message() << "routine " << static_cast<int>(routine) << ", n = " << n << " on "
                                            << ranks << " ranks, tile " << tile);
          const Plan plan = make_grid_plan(q, 0);
          EXPECT_GE(plan.pivot, 1);
          EXPECT_LE(plan.pivot, n);
          EXPECT_LE((n + plan.pivot - 1) / plan.pivot, 256);
          EXPECT_GT(plan.seconds, 0);
          EXPECT_GE(plan.workspace_bytes,
                    carved(q, plan, squarest_grid(static_cast<int>(ranks))) + engine_scratch_bytes(q.platform, 0, 1));
          // Two copies of the shard and a half for an eigenproblem, in large matrices, is all there is room for.
          if (n >= 50000 && tile == 0) {
            EXPECT_LE(plan.workspace_bytes,
                      (routine == Routine::syevd ? 2.5 : 1.5) * static_cast<double>(plan.shard_bytes));
          }
        }
      }
    }
  }
}

TEST(GridPlan, EigenvaluesAloneNeedNoRoomForVectors) {
  const auto bytes = [](std::int64_t vectors) {
    return make_grid_plan(request(Routine::syevd, 4096, vectors, 4), 0).workspace_bytes;
  };
  EXPECT_EQ(bytes(4096) - bytes(0), std::int64_t{2048} * 2048 * 8);
}

TEST(GridPlan, FactorsHaveTheTilesOfOurOwnBackend) {
  for (const std::int64_t n : {100, 4096, 50000}) {
    const PlanRequest q = request(Routine::potrf, n, 1, 4);
    EXPECT_EQ(make_grid_plan(q, 0).tile, make_plan(q).tile);
  }
}

TEST(GridPlan, TheRanksMayStandAsTheMeshDoes) {
  const PlanRequest q = request(Routine::posv, 4096, 1, 8);
  EXPECT_NO_THROW(make_grid_plan(q, 4));
  EXPECT_THROW(make_grid_plan(q, 3), Error);
}

TEST(GridPlan, RefusesWhatNoSolverDoes) {
  EXPECT_THROW(make_grid_plan(request(Routine::potri, 100, 1, 4), 0), Error);
  EXPECT_THROW(make_grid_plan(request(Routine::posv, 0, 1, 4), 0), Error);
  PlanRequest on_cpu = request(Routine::posv, 100, 1, 4);
  on_cpu.platform = Platform::cpu;
  EXPECT_THROW(make_grid_plan(on_cpu, 0), Error);
}

}  // namespace
}  // namespace jaxmg::testing
