#include "backends/cusolvermg_plan.h"

#include <algorithm>
#include <cstdint>

#include "backends/cusolvermg_workspace.h"
#include "core/error.h"
#include "engine/scratch.h"
#include "layout/tile_columns.h"

namespace jaxmg {
namespace {

// The library's eigensolver takes no wider ones.
constexpr std::int64_t widest_of_syevd = 1024;

std::int64_t share_of(const PlanRequest& q) { return (q.nrhs + q.ranks - 1) / q.ranks; }

std::int64_t carved(const PlanRequest& q, const TileColumns& layout, const Plan& plan) {
  return dispatch(q.type, [&]<class T>() {
    if (q.routine == Routine::syevd) return CusolverMgSyevdStages<T>(Arena(), layout, share_of(q)).memory.bytes();
    const bool inverse = q.routine == Routine::potri;
    return CusolverMgStages<T>(Arena(), layout, plan.pivot, plan.slots, inverse).memory.bytes();
  });
}

double estimate(const PlanRequest& q) {
  const CusolverMgCost cost(q.platform, q.type, q.ranks, q.network);
  switch (q.routine) {
    case Routine::posv:
      return cost.potrf(q.n) + cost.potrs(q.n, q.nrhs);
    case Routine::potrf:
      return cost.potrf(q.n);
    case Routine::potrs:
      return cost.potrs(q.n, q.nrhs);
    case Routine::potri:
      return cost.potri(q.n);
    case Routine::syevd:
      return cost.syevd(q.n);
    case Routine::redistribute:
    case Routine::lower:
    case Routine::diagonal:
    case Routine::solver_bytes:
      break;
  }
  throw Error(ErrorCode::invalid_argument, "cuSOLVERMg does not have the routine");
}

}  // namespace

Plan make_cusolvermg_plan(const PlanRequest& q) {
  if (q.platform != Platform::cuda || q.processes != 1) {
    throw Error(ErrorCode::invalid_argument, "cuSOLVERMg works on the GPUs of one process");
  }
  PlanRequest ours = q;
  ours.workspace_limit = 0;
  const bool eigenproblem = q.routine == Routine::syevd;
  if (eigenproblem) {
    ours.routine = Routine::potrf;  // the same shards
    ours.nrhs = 1;
    ours.tile = std::min(q.tile, widest_of_syevd);
  }
  Plan plan = make_plan(ours);
  if (eigenproblem) plan.rhs_bytes = share_of(q) * q.n * size_of(q.type);
  const TileColumns layout(q.n, (q.n + q.ranks - 1) / q.ranks, plan.tile, static_cast<int>(q.ranks));
  plan.workspace_bytes = carved(q, layout, plan) + engine_scratch_bytes(q.platform, 0, q.processes);
  plan.seconds = estimate(q);
  return plan;
}

}  // namespace jaxmg
