// Triangular sweeps with a factor in tile columns, shared by the solves of all factorisations.
#pragma once

#include <cstdint>
#include <optional>

#include "algorithms/triangular/triangle.h"
#include "algorithms/triangular/trsm_few.h"
#include "algorithms/triangular/trsm_many.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "layout/tile_columns.h"
#include "planner/block_columns.h"

namespace jaxmg::routines {

// Stage: workspace of the sweeps, by the layout of the right-hand sides.
template <class T>
struct SweepsWorkspace {
  std::optional<TrsmFewWorkspace<T>> few;    // replicated right-hand sides
  std::optional<TrsmManyWorkspace<T>> many;  // distributed right-hand sides

  SweepsWorkspace(Arena& arena, const SystemProblem& q, const SystemPlan& plan)
      : SweepsWorkspace(arena, q.layout(plan.tile), q.nrhs, plan) {}
  SweepsWorkspace(Arena& arena, const TileColumns& layout, std::int64_t nrhs, const SystemPlan& plan) {
    if (plan.distributed_rhs) {
      many.emplace(arena, layout, plan.depth, plan.slots);
    } else {
      few.emplace(arena, layout, nrhs);
    }
  }

  // Calls solve(sweeps) with the algorithm that suits the layout, TrsmFew or TrsmMany.
  template <class E>
  void with(E& engine, const TileColumns& layout, std::int64_t depth, MatrixView<T> factor, MatrixView<T> x,
            auto&& solve) {
    if (few) {
      solve(TrsmFew<T, E>(engine, layout, factor, x, *few));
    } else {
      solve(TrsmMany<T, E>(engine, layout, depth, factor, x, *many));
    }
  }
  // One triangular system.
  template <class E>
  void solve(E& engine, const TileColumns& layout, std::int64_t depth, MatrixView<T> factor, MatrixView<T> x,
             const TriangularSystem& system) {
    with(engine, layout, depth, factor, x, [&](auto&& sweeps) {
      sweeps.solve(system);
      if (system.op == Op::none) sweeps.share();
    });
    engine.join();
  }
};

}  // namespace jaxmg::routines
