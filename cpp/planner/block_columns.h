// Plans of routines that work on block columns: groups of tile columns of one depth, with panel buffers in rotation.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/ceil_div.h"
#include "planner/plan.h"
#include "planner/problem.h"

namespace jaxmg {

struct BlockColumnPlan : Plan {
  std::int64_t depth = 1;  // columns of a block column, the depth of the updates
  std::int64_t slots = 1;  // sets of panel buffers

  void fields(auto&& visit) {
    Plan::fields(visit);
    visit("depth", depth);
    visit("slots", slots);
  }
};

// Plan with right-hand sides.
struct SystemPlan : BlockColumnPlan {
  bool distributed_rhs = false;  // each rank solves its own right-hand sides; otherwise all ranks solve all

  void fields(auto&& visit) {
    BlockColumnPlan::fields(visit);
    visit("distributed_rhs", distributed_rhs);
  }
};

// Up to this many right-hand sides, a chain of small steps is faster than broadcasting the factor.
inline bool distributes(const auto& q) { return q.ranks > 1 && q.nrhs > 64; }
// Number of right-hand sides on each rank.
inline std::int64_t columns_of_rank(const auto& q, bool distributed) { return distributed ? q.share(q.nrhs) : q.nrhs; }

// Columns of a tile: enough to avoid thousands of chain steps in a solve, and at most the width of a block column.
inline std::int64_t choose_tile(const SquareProblem& q) {
  const std::int64_t shard = q.shard(), least = ceil_div(q.n, 1024);
  if (q.tile > 0) return std::max(least, std::min({q.tile, shard, std::int64_t{2048}}));
  const std::int64_t widest = q.platform == Platform::cuda ? 512 : 128;
  const std::int64_t narrowest = q.platform == Platform::cuda ? 128 : 64;
  const std::int64_t wanted = std::max(least, std::clamp(ceil_div(shard, 4), narrowest, widest));
  if (shard <= wanted) return std::max(least, shard);
  // A width that divides the shard leaves no ragged tiles.
  for (std::int64_t tile = wanted; tile > wanted / 2; --tile) {
    if (shard % tile == 0) return tile;
  }
  return wanted;
}

// Depth at which products of matrices of order n are efficient on GPUs.
inline std::int64_t preferred_depth(std::int64_t n) {
  return n > 98304 ? 4096 : n > 49152 ? 2048 : n > 4096 ? 1024 : 512;
}

// A routine R may have
//   static constexpr bool factors = true;     diagonal blocks are factored, by the vendor's potrf
//   static std::int64_t preferred_depth(n)    instead of the depth above
template <class R>
Planned<typename R::Plan> plan_block_columns(const typename R::Problem& q) {
  q.check();
  constexpr bool factors = requires { R::factors; };
  const bool on_gpus = q.platform == Platform::cuda;
  Planned<typename R::Plan> made;
  auto& plan = made.plan;
  plan.tile = choose_tile(q);
  made.shard_bytes = q.shard_bytes();
  if constexpr (requires { plan.distributed_rhs; }) {
    plan.distributed_rhs = distributes(q);
    made.rhs_bytes = columns_of_rank(q, plan.distributed_rhs) * q.rows() * size_of(q.type);
  }
  plan.slots = on_gpus && (q.ranks > 1 || !factors) ? 3 : 1;
  std::int64_t depth = preferred_depth(q.n);
  if constexpr (requires { R::preferred_depth(q.n); }) depth = R::preferred_depth(q.n);
  plan.depth = on_gpus ? std::max(plan.tile, depth / plan.tile * plan.tile) : plan.tile;
  const auto measure = [&] {
    if (factors) plan.largest_potrf = q.ranks == 1 ? q.n : plan.depth;
    return made.workspace_bytes = workspace_bytes<R>(q, plan);
  };
  // Small matrices may exceed half a shard.
  const std::int64_t limit =
      q.workspace_limit > 0 ? q.workspace_limit : std::max(made.shard_bytes / 2, std::int64_t{256} << 20);
  while (measure() > limit && plan.depth > plan.tile) {
    plan.depth = std::max(plan.tile, plan.depth / 2 / plan.tile * plan.tile);
  }
  while (made.workspace_bytes > limit && plan.slots > (q.workspace_limit > 0 ? 1 : 2)) {
    --plan.slots;
    measure();
  }
  check_limit(q, made);
  made.seconds = R::seconds(ColumnsCost(q.platform, q.type, q.ranks, q.network), q, plan);
  return made;
}

}  // namespace jaxmg
