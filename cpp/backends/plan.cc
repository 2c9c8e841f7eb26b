#include "backends/plan.h"

#include <algorithm>
#include <string>

#include "backends/block_cyclic_cholesky.h"
#include "backends/request_checks.h"
#include "backends/tiled_cholesky.h"
#include "engine/engine.h"

namespace jaxmg {
namespace {

std::int64_t shard_of(const PlanRequest& q) { return (q.n + q.ranks - 1) / q.ranks; }

// Neither so narrow that a solve has thousands of chain steps, nor wider than a pivot should be.
std::int64_t choose_tile(const PlanRequest& q) {
  const std::int64_t shard = shard_of(q);
  if (q.routine == Routine::redistribute) return std::max<std::int64_t>(1, std::min(q.tile, shard));
  const std::int64_t least = (q.n + 1023) / 1024;
  if (q.tile > 0) return std::max(least, std::min({q.tile, shard, std::int64_t{2048}}));
  const std::int64_t widest = q.platform == Platform::cuda ? 512 : 128;
  const std::int64_t narrowest = q.platform == Platform::cuda ? 128 : 64;
  const std::int64_t wanted = std::max(least, std::clamp((shard + 3) / 4, narrowest, widest));
  if (shard <= wanted) return std::max(least, shard);
  // A width that divides the shard leaves no ragged tiles.
  for (std::int64_t tile = wanted; tile > wanted / 2; --tile) {
    if (shard % tile == 0) return tile;
  }
  return wanted;
}

std::int64_t preferred_depth(const PlanRequest& q, std::int64_t tile) {
  if (q.platform == Platform::cpu) return tile;
  std::int64_t depth = q.n > 98304 ? 4096 : q.n > 49152 ? 2048 : q.n > 4096 ? 1024 : 512;
  // An inverse has no chain of pivots that deep updates would make longer.
  if (q.routine == Routine::potri && q.n > 24576) depth = std::max<std::int64_t>(depth, 2048);
  return std::max(tile, depth / tile * tile);
}

bool takes_right_hand_sides(Routine routine) { return routine == Routine::posv || routine == Routine::potrs; }
bool factors(Routine routine) { return routine == Routine::posv || routine == Routine::potrf; }

std::int64_t carved(const PlanRequest& q, const TileColumns& layout, const Plan& plan) {
  const std::int64_t nrhs = plan.distributed_rhs != 0 ? (q.nrhs + q.ranks - 1) / q.ranks : q.nrhs;
  const bool distributed = plan.distributed_rhs != 0;
  return dispatch(q.type, [&]<class T>() -> std::int64_t {
    switch (q.routine) {
      case Routine::posv:
        return PosvStages<T>(Arena(), layout, plan.pivot, plan.slots, nrhs, distributed).memory.bytes();
      case Routine::potrf:
        return PotrfStages<T>(Arena(), layout, plan.pivot, plan.slots).memory.bytes();
      case Routine::potrs:
        return PotrsStages<T>(Arena(), layout, plan.pivot, plan.slots, nrhs, distributed).memory.bytes();
      case Routine::potri:
        return PotriStages<T>(Arena(), layout, plan.pivot, plan.slots).memory.bytes();
      case Routine::lower:
        return LowerStages<T>(Arena(), layout, plan.pivot, plan.slots).memory.bytes();
      case Routine::diagonal:
        return 0;
      case Routine::redistribute:
        return q.ranks == 1 ? 0 : redistribution_bytes<T>(layout, q.nrhs);
      case Routine::solver_bytes:
        return SolverWorkspace::bytes(static_cast<int>(q.ranks));
      case Routine::syevd:
        break;
    }
    throw Error(ErrorCode::invalid_argument, "this planner does not know the routine");
  });
}

std::int64_t workspace(const PlanRequest& q, const TileColumns& layout, const Plan& plan) {
  const std::int64_t largest = !factors(q.routine) ? 0 : q.ranks == 1 ? q.n : plan.pivot;
  // No buffer is empty.
  return std::max(carved(q, layout, plan), Arena::alignment) + engine_scratch_bytes(q.platform, largest, q.processes);
}

double estimate(const PlanRequest& q, const Plan& plan) {
  const ColumnsCost cost(q.platform, q.type, q.ranks, q.network);
  const auto bytes = static_cast<double>(plan.shard_bytes);
  const auto solve = [&] { return cost.potrs(q.n, q.nrhs, plan.tile, plan.pivot, plan.distributed_rhs != 0); };
  switch (q.routine) {
    case Routine::posv:
      return cost.deal(bytes) + cost.potrf(q.n, plan.tile, plan.pivot) + solve();
    case Routine::potrf:
      return cost.deal(bytes) + cost.potrf(q.n, plan.tile, plan.pivot);
    case Routine::potrs:
      return solve();
    case Routine::potri:
      return cost.potri(q.n, plan.tile, plan.pivot);
    case Routine::lower:
      return 2 * cost.deal(bytes) + 2 * cost.pass(bytes);
    case Routine::diagonal:
      return cost.step();
    case Routine::redistribute:
      return 2 * cost.deal(bytes);
    case Routine::solver_bytes:
    case Routine::syevd:
      break;
  }
  return 0;
}

void check(const PlanRequest& q) {
  check_sizes(q);
  require(q.nrhs >= (q.routine == Routine::syevd ? 0 : 1), "nrhs must be at least 1, got " + std::to_string(q.nrhs));
}

}  // namespace

Plan make_plan(const PlanRequest& q) {
  check(q);
  const std::int64_t size = size_of(q.type), shard = shard_of(q);
  Plan plan{};
  plan.tile = choose_tile(q);
  plan.shard_bytes = shard * (q.routine == Routine::redistribute ? q.nrhs : q.n) * size;
  const TileColumns layout(q.n, shard, plan.tile, static_cast<int>(q.ranks));
  const auto measure = [&] { return plan.workspace_bytes = workspace(q, layout, plan); };
  plan.slots = 1;
  plan.pivot = plan.tile;
  if (q.routine == Routine::redistribute) {
    measure();
    plan.seconds = estimate(q, plan);
    return plan;
  }
  // Up to this many right-hand sides a chain of small steps beats sending the factor around.
  plan.distributed_rhs = takes_right_hand_sides(q.routine) && q.ranks > 1 && q.nrhs > 64 ? 1 : 0;
  if (takes_right_hand_sides(q.routine)) {
    plan.rhs_bytes = (plan.distributed_rhs != 0 ? (q.nrhs + q.ranks - 1) / q.ranks : q.nrhs) * q.n * size;
  }
  if (q.platform == Platform::cuda && (q.ranks > 1 || !factors(q.routine))) plan.slots = 3;
  plan.pivot = preferred_depth(q, plan.tile);
  // Small matrices cannot keep to half a shard, and need not.
  const std::int64_t limit =
      q.workspace_limit > 0 ? q.workspace_limit : std::max(plan.shard_bytes / 2, std::int64_t{256} << 20);
  while (measure() > limit && plan.pivot > plan.tile) {
    plan.pivot = std::max(plan.tile, plan.pivot / 2 / plan.tile * plan.tile);
  }
  while (plan.workspace_bytes > limit && plan.slots > (q.workspace_limit > 0 ? 1 : 2)) {
    --plan.slots;
    measure();
  }
  if (q.workspace_limit > 0 && plan.workspace_bytes > q.workspace_limit) refuse_limit(q, plan);
  plan.seconds = estimate(q, plan);
  return plan;
}

double grid_seconds(const PlanRequest& q) {
  check(q);
  if (q.platform != Platform::cuda) {
    throw Error(ErrorCode::invalid_argument, "grids of ranks are known on GPUs only");
  }
  const GridCost cost(q.platform, q.type, q.ranks, q.network);
  switch (q.routine) {
    case Routine::posv:
      return cost.potrf(q.n) + cost.potrs(q.n, q.nrhs);
    case Routine::potrf:
      return cost.potrf(q.n);
    case Routine::potrs:
      return cost.potrs(q.n, q.nrhs);
    case Routine::syevd:
      return cost.syevd(q.n, q.nrhs);
    case Routine::redistribute:
    case Routine::potri:
    case Routine::lower:
    case Routine::diagonal:
    case Routine::solver_bytes:
      break;
  }
  throw Error(ErrorCode::invalid_argument, "no solver on a grid of ranks has the routine");
}

}  // namespace jaxmg
