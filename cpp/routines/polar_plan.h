// Block columns of the polar decomposition and of the singular value decomposition.
#pragma once

#include <algorithm>
#include <cstdint>

#include "planner/block_columns.h"
#include "planner/plan.h"
#include "planner/problem.h"

namespace jaxmg::routines {

// The depth of products and solves, and the sets of panel buffers. All stages are products of n columns: buffers that
// hide broadcasts are worth their memory.
inline void choose_block_columns(const SquareProblem& q, BlockColumnPlan& plan) {
  const bool on_gpus = q.platform == Platform::cuda;
  const std::int64_t depth = on_gpus ? preferred_depth(q.n) : 128;
  plan.depth = std::max(plan.tile, depth / plan.tile * plan.tile);
  plan.slots = on_gpus && q.ranks > 1 ? 3 : 1;
  plan.largest_potrf = q.ranks == 1 ? q.n : plan.depth;
}

// Shrinks the buffers, cheapest loss first; false when they are minimal.
inline bool shrink_block_columns(const SquareProblem& q, BlockColumnPlan& plan) {
  if (plan.depth > plan.tile) {
    plan.depth = std::max(plan.tile, plan.depth / 2 / plan.tile * plan.tile);
    plan.largest_potrf = q.ranks == 1 ? q.n : plan.depth;
  } else if (plan.slots > 1) {
    --plan.slots;
  } else {
    return false;
  }
  return true;
}

}  // namespace jaxmg::routines
