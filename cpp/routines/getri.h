// getri: A^-1 by rows from the factors of getrf.
#pragma once

#include <cstdint>

#include "algorithms/cholesky/factor_status.h"
#include "algorithms/lu/getri.h"
#include "algorithms/moves/redistribute.h"
#include "planner/block_columns.h"
#include "planner/cost_model.h"
#include "routines/getrf.h"
#include "routines/signature.h"

namespace jaxmg::routines {

struct Getri {
  static constexpr auto name = "getri";
  using Problem = SquareProblem;
  using Plan = BlockColumnPlan;
  using Buffers = Signature<InOut<Shard>, In<Pivots>>;

  template <class T>
  struct Workspace {
    StagedWorkspace memory;
    GetriWorkspace<T> getri;

    Workspace(Arena arena, const Problem& q, const Plan& plan)
        : memory(arena, q.layout(plan.tile)), getri(memory.stage<GetriWorkspace<T>>(q.layout(plan.tile), plan.slots)) {
      memory.deal<T>(q.layout(plan.tile));
    }
    std::int64_t bytes() const { return memory.bytes(); }
  };

  static std::int64_t preferred_depth(std::int64_t) { return 1; }  // a tile, as in getrf
  static Planned<Plan> plan(const Problem& q) { return plan_block_columns<Getri>(q); }
  static double seconds(const ColumnsCost& cost, const Problem& q, const Plan& plan) {
    return cost.getri(q.n, plan.tile);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a,
                  MatrixView<std::int32_t> pivots) {
    const TileColumns layout = q.layout(plan.tile);
    jaxmg::Getri<T, E>(engine, layout, a, pivots.data, w.getri).run();
    redistribute(engine, layout, a, w.memory.shared(), true);
  }
};

}  // namespace jaxmg::routines
