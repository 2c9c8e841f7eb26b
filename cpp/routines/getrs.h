// getrs: A X = B, A^T X = B or A^H X = B with the factors of getrf. Right-hand sides are rows, not conjugated.
#pragma once

#include <cstdint>
#include <optional>

#include "algorithms/lu/getrs.h"
#include "algorithms/triangular/trsm_few.h"
#include "algorithms/triangular/trsm_many.h"
#include "planner/block_columns.h"
#include "planner/cost_model.h"
#include "routines/getrf.h"
#include "routines/signature.h"

namespace jaxmg::routines {

// By the layout of the right-hand sides.
template <class T>
struct LuSolveWorkspace {
  RowMoves* moves;
  std::optional<TrsmFewWorkspace<T>> few;    // all ranks have all of them
  std::optional<TrsmManyWorkspace<T>> many;  // each rank has its own

  LuSolveWorkspace(Arena& arena, const SystemProblem& q, const SystemPlan& plan) : moves(arena.take<RowMoves>(q.n)) {
    const TileColumns layout = q.layout(plan.tile);
    if (plan.distributed_rhs) {
      many.emplace(arena, layout, plan.depth, plan.slots);
    } else {
      few.emplace(arena, layout, q.nrhs);
    }
  }
};

template <class T, class E>
void solve_with_lu(E& engine, const TileColumns& layout, std::int64_t depth, Trans trans, MatrixView<T> factor,
                   const std::int32_t* pivots, MatrixView<T> x, LuSolveWorkspace<T>& w) {
  const auto solve = [&](auto&& sweeps) { getrs(engine, layout.order(), trans, pivots, w.moves, sweeps, x); };
  if (w.few) {
    solve(TrsmFew<T, E>(engine, layout, factor, x, *w.few));
  } else {
    solve(TrsmMany<T, E>(engine, layout, depth, factor, x, *w.many));
  }
}

struct Getrs {
  static constexpr auto name = "getrs";
  struct Problem : SystemProblem {
    Trans trans = Trans::none;

    template <class Visit>
    void fields(Visit&& visit) {
      SystemProblem::fields(visit);
      visit("trans", trans);
    }
  };
  using Plan = SystemPlan;
  struct Factor : Shard {
    static constexpr auto name = "factor";
  };
  using Buffers = Signature<InOut<RightHandSides>, In<Factor>, In<Pivots>>;

  template <class T>
  struct Workspace {
    Arena arena;
    LuSolveWorkspace<T> solve;

    Workspace(Arena whole, const Problem& q, const Plan& plan) : arena(whole), solve(arena, q, plan) {}
    std::int64_t bytes() const { return arena.used(); }
  };

  static Planned<Plan> plan(const Problem& q) { return plan_block_columns<Getrs>(q); }
  static double seconds(const ColumnsCost& cost, const SystemProblem& q, const Plan& plan) {
    return cost.potrs(q.n, q.nrhs, plan.tile, plan.depth, plan.distributed_rhs);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> x, MatrixView<T> factor,
                  MatrixView<std::int32_t> pivots) {
    solve_with_lu(engine, q.layout(plan.tile), plan.depth, q.trans, factor, pivots.data, x, w.solve);
  }
};

}  // namespace jaxmg::routines
