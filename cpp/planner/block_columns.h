// Plans of routines that work on block columns: groups of tile columns of one depth, with panel buffers in rotation.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "core/ceil_div.h"
#include "engine/scratch.h"
#include "planner/one_rank.h"
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

using SystemPlan = WithDistribution<BlockColumnPlan>;

// The widest tile of a factor.
inline constexpr std::int64_t widest_tile = 2048;

// Up to this many right-hand sides, a chain of small steps is faster than broadcasting the factor.
inline constexpr std::int64_t few_rhs = 64;
inline bool distributes(const auto& q) { return q.ranks > 1 && q.nrhs > few_rhs; }

// Decides which ranks have which right-hand sides, if the plan has any.
template <class P>
void place_right_hand_sides(const auto& q, Planned<P>& made) {
  if constexpr (requires { made.plan.distributed_rhs; }) {
    made.plan.distributed_rhs = distributes(q);
    made.rhs_bytes = made.plan.columns_of_rank(q) * q.rows() * size_of(q.type);
  }
}

// Columns of a tile: enough to avoid thousands of chain steps in a solve, and at most the width of a block column.
inline std::int64_t choose_tile(const SquareProblem& q) {
  const std::int64_t shard = q.shard(), least = ceil_div(q.n, 1024);
  if (q.tile > 0) return std::max(least, std::min({q.tile, shard, widest_tile}));
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

// Shrinks the buffers, cheapest loss first; false when they are minimal.
inline bool shrink(BlockColumnPlan& plan, std::int64_t least_slots = 1) {
  if (plan.depth > plan.tile) {
    plan.depth = std::max(plan.tile, plan.depth / 2 / plan.tile * plan.tile);
    return true;
  }
  if (plan.slots <= least_slots) return false;
  --plan.slots;
  return true;
}

// Block columns of decompositions, all of whose stages are products of n columns: buffers that hide broadcasts are
// worth their memory.
inline void choose_block_columns(const SquareProblem& q, BlockColumnPlan& plan) {
  const bool on_gpus = q.platform == Platform::cuda;
  const std::int64_t depth = on_gpus ? preferred_depth(q.n) : 128;
  plan.depth = std::max(plan.tile, depth / plan.tile * plan.tile);
  plan.slots = on_gpus && q.ranks > 1 ? 3 : 1;
}

// Sets the workspace of a plan for R, and the largest block that its potrf factors.
template <class R>
void measure_workspace(const typename R::Problem& q, Planned<typename R::Plan>& made) {
  if constexpr (requires { R::factors; }) {
    made.plan.largest_potrf = q.ranks == 1 || made.plan.solo() ? q.n : made.plan.depth;
  }
  made.workspace_bytes = workspace_bytes<R>(q, made.plan);
}

// A tile narrower than a shard, as requested or of a given factor, requires all ranks. Many right-hand sides are work
// for all of them, too.
template <class R>
bool one_rank_is_enough(const typename R::Problem& q) {
  if constexpr (requires { R::one_rank; }) {
    if (q.ranks == 1 || (q.tile > 0 && q.tile < q.shard()) || q.shard() > widest_tile) return false;
    const std::int64_t most = most_for_one_rank(q, R::one_rank);
    if (q.n > most) return false;
    if constexpr (requires { q.nrhs; }) {
      const auto n = static_cast<double>(q.n), nrhs = static_cast<double>(q.nrhs), order = static_cast<double>(most);
      return q.nrhs <= few_rhs || n * n * (n + 6 * nrhs) <= order * order * order;
    }
    return true;
  }
  return false;
}

template <class R>
Planned<typename R::Plan> plan_block_columns(const typename R::Problem& q);

// The plan of one rank that works alone; its memory is the same on every rank.
template <class R>
Planned<typename R::Plan> plan_one_rank(const typename R::Problem& q) {
  typename R::Problem single = alone(q);
  single.workspace_limit = 0;
  Planned<typename R::Plan> made = plan_block_columns<R>(single);
  made.plan.alone = std::exchange(made.plan.tile, q.shard());
  made.shard_bytes = q.shard_bytes();
  place_right_hand_sides(q, made);
  measure_workspace<R>(q, made);
  // Of a triangle, about half is sent. Results go back.
  constexpr bool lower = requires { R::reads_lower; };
  constexpr bool back = R::Buffers::returns_matrix && !requires { R::uses_up_a; };
  const auto matrix = static_cast<double>(made.shard_bytes), sides = static_cast<double>(made.rhs_bytes);
  const ColumnsCost cost = cost_of(q);
  made.seconds += cost.collect((lower ? matrix / 2 : matrix) + sides) + cost.collect((back ? matrix : 0) + sides);
  return made;
}

// A routine R may have
//   static constexpr bool factors = true;     diagonal blocks are factored, by the vendor's potrf
//   static std::int64_t preferred_depth(n)    instead of the depth above
//   static std::int64_t most_workspace(q)     bytes, if the caller sets no limit; otherwise half a shard
//   static constexpr auto one_rank = &OneRankOrders::posv;    one rank solves matrices up to these orders
//   static constexpr bool uses_up_a = true;   the matrix is undefined afterwards, one rank need not send it back
//   static constexpr bool reads_lower = true;  only the lower triangle of the matrix is read
template <class R>
Planned<typename R::Plan> plan_block_columns(const typename R::Problem& q) {
  q.check();
  if (one_rank_is_enough<R>(q)) {
    const auto made = plan_one_rank<R>(q);
    if (!exceeds_limit(q, made)) return made;
  }
  constexpr bool factors = requires { R::factors; };
  const bool on_gpus = q.platform == Platform::cuda;
  Planned<typename R::Plan> made;
  auto& plan = made.plan;
  plan.tile = choose_tile(q);
  made.shard_bytes = q.shard_bytes();
  place_right_hand_sides(q, made);
  bool by_blocks = q.ranks > 1 || !factors;
  if constexpr (requires { q.by_blocks(); }) by_blocks |= q.by_blocks();
  plan.slots = on_gpus && by_blocks ? 3 : 1;
  std::int64_t depth = preferred_depth(q.n);
  if constexpr (requires { R::preferred_depth(q.n); }) depth = R::preferred_depth(q.n);
  plan.depth = on_gpus ? std::max(plan.tile, depth / plan.tile * plan.tile) : plan.tile;
  std::int64_t most = made.shard_bytes / 2;
  if constexpr (requires { R::most_workspace(q); }) most = R::most_workspace(q);
  // Small matrices may exceed that. What the engine needs between processes comes on top: the blocking does not depend
  // on the number of processes.
  most = std::max(most, std::int64_t{256} << 20) + engine_scratch_bytes(q.platform, 0, q.processes) -
         engine_scratch_bytes(q.platform, 0, 1);
  const std::int64_t limit = q.workspace_limit > 0 ? q.workspace_limit : most;
  const std::int64_t least_slots = q.workspace_limit > 0 ? 1 : 2;
  measure_workspace<R>(q, made);
  while (made.workspace_bytes > limit && shrink(plan, least_slots)) measure_workspace<R>(q, made);
  check_limit(q, made);
  made.seconds = R::seconds(cost_of(q), q, plan);
  return made;
}

}  // namespace jaxmg
