// Triangular sweeps with a factor in tile columns: what solves of every factorisation are made of.
#pragma once

#include <cstdint>
#include <optional>

#include "algorithms/triangular/trsm_few.h"
#include "algorithms/triangular/trsm_many.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "layout/tile_columns.h"
#include "planner/block_columns.h"

namespace jaxmg::routines {

// A stage, by the layout of the right-hand sides.
template <class T>
struct SweepsWorkspace {
  std::optional<TrsmFewWorkspace<T>> few;    // all ranks have all of them
  std::optional<TrsmManyWorkspace<T>> many;  // each rank has its own

  SweepsWorkspace(Arena& arena, const SystemProblem& q, const SystemPlan& plan) {
    const TileColumns layout = q.layout(plan.tile);
    if (plan.distributed_rhs) {
      many.emplace(arena, layout, plan.depth, plan.slots);
    } else {
      few.emplace(arena, layout, q.nrhs);
    }
  }

  // Calls solve(sweeps) with the algorithm that suits the layout: Few or Many of T and E.
  template <template <class, class> class Few, template <class, class> class Many, class E>
  void with(E& engine, const TileColumns& layout, std::int64_t depth, MatrixView<T> factor, MatrixView<T> x,
            auto&& solve) {
    if (few) {
      solve(Few<T, E>(engine, layout, factor, x, *few));
    } else {
      solve(Many<T, E>(engine, layout, depth, factor, x, *many));
    }
  }
};

}  // namespace jaxmg::routines
