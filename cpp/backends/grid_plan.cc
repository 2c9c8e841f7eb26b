#include "backends/grid_plan.h"

#include <algorithm>
#include <string>

#include "backends/block_cyclic_cholesky.h"
#include "backends/block_cyclic_eigen.h"
#include "core/error.h"
#include "engine/engine.h"
#include "layout/block_cyclic.h"

namespace jaxmg {
namespace {

// Wide tiles make good products, narrow ones keep all ranks busy to the end. (cuSOLVERMp 0.9.1, f64 on 2 x 2 H200:
// at n = 32768 and 65536 tiles of 1024 are the fastest.) Of more than 256 x 256 tiles the exchanges would be long
// lists.
std::int64_t choose_tile(const PlanRequest& q, const ProcessGrid& grid) {
  const std::int64_t least = (q.n + 255) / 256;
  if (q.tile > 0) return std::clamp(q.tile, least, q.n);
  const std::int64_t share = (q.n + std::max(grid.rows, grid.columns) - 1) / std::max(grid.rows, grid.columns);
  return std::max(least, std::min<std::int64_t>(share, q.n >= 32768 ? 1024 : q.n >= 8192 ? 512 : 256));
}

}  // namespace

ProcessGrid grid_of(std::int64_t ranks, std::int64_t rows) {
  if (rows < 0 || rows > ranks || (rows > 0 && ranks % rows != 0)) {
    throw Error(ErrorCode::invalid_argument,
                std::to_string(ranks) + " devices are no grid of " + std::to_string(rows) + " rows");
  }
  if (rows == 0) return squarest_grid(static_cast<int>(ranks));
  return {static_cast<int>(rows), static_cast<int>(ranks / rows)};
}

Plan make_grid_plan(const PlanRequest& q, std::int64_t grid_rows) {
  const bool eigenproblem = q.routine == Routine::syevd;
  if (!eigenproblem && q.routine != Routine::posv && q.routine != Routine::potrf) {
    throw Error(ErrorCode::invalid_argument, "solvers of block-cyclic matrices do not know the routine");
  }
  PlanRequest ours = q;
  if (eigenproblem) {
    ours.routine = Routine::potrf;  // the same shards
    ours.nrhs = 1;
  }
  ours.workspace_limit = 0;
  Plan plan = make_plan(ours);
  const ProcessGrid grid = grid_of(q.ranks, grid_rows);
  plan.pivot = choose_tile(q, grid);
  plan.slots = 1;
  plan.seconds = grid_seconds(q);
  const std::int64_t share = (q.nrhs + q.ranks - 1) / q.ranks;
  plan.workspace_bytes = engine_scratch_bytes(q.platform, 0, q.processes);
  dispatch(q.type, [&]<class T>() {
    if (eigenproblem) {
      plan.tile = plan.pivot;
      plan.rhs_bytes = share * q.n * size_of(q.type);
      plan.workspace_bytes += BlockCyclicEigenWorkspace<T>(Arena(), q.n, share, plan.pivot, grid).bytes;
      return;
    }
    const std::int64_t nrhs = q.routine == Routine::potrf ? 0 : plan.distributed_rhs != 0 ? share * q.ranks : q.nrhs;
    BlockCyclicCholeskyWorkspace<T> w(Arena(), q.n, nrhs, plan.pivot, grid);
    if (q.routine == Routine::potrf) {
      w.deal(TileColumns(q.n, (q.n + q.ranks - 1) / q.ranks, plan.tile, static_cast<int>(q.ranks)));
    }
    plan.workspace_bytes += w.bytes;
  });
  return plan;
}

}  // namespace jaxmg
