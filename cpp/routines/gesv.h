// gesv: A X = B by LU. A becomes its factors, as getrf leaves them; right-hand sides are rows, not conjugated. If a
// pivot is zero, X is what division by zero makes of it.
#pragma once

#include <cstdint>

#include "algorithms/cholesky/factor_status.h"
#include "planner/block_columns.h"
#include "planner/cost_model.h"
#include "routines/getrf.h"
#include "routines/getrs.h"
#include "routines/signature.h"

namespace jaxmg::routines {

struct Gesv {
  static constexpr auto name = "gesv";
  using Problem = SystemProblem;
  using Plan = SystemPlan;
  using Buffers = Signature<InOut<Shard>, InOut<RightHandSides>, Out<Pivots>, Out<Info>>;

  template <class T>
  struct Workspace {
    StagedWorkspace memory;
    GetrfWorkspace<T> getrf;
    LuSolveWorkspace<T> solve;

    Workspace(Arena arena, const Problem& q, const Plan& plan)
        : memory(arena, q.layout(plan.tile)),
          getrf(memory.stage<GetrfWorkspace<T>>(q.layout(plan.tile), lu_leaf(q, plan.tile), plan.slots)),
          solve(memory.stage<LuSolveWorkspace<T>>(q, plan)) {
      memory.deal<T>(q.layout(plan.tile));
    }
    std::int64_t bytes() const { return memory.bytes(); }
  };

  static Planned<Plan> plan(const Problem& q) { return plan_block_columns<Gesv>(q); }
  static double seconds(const ColumnsCost& cost, const Problem& q, const Plan& plan) {
    return Getrf::seconds(cost, q, plan) + Getrs::seconds(cost, q, plan);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a, MatrixView<T> x,
                  MatrixView<std::int32_t> pivots, MatrixView<std::int32_t> info) {
    const TileColumns layout = q.layout(plan.tile);
    deal_and_factor_lu(engine, layout, a, pivots, info, w.getrf, w.memory);
    engine.join();
    solve_with_lu(engine, layout, plan.depth, Trans::none, a, pivots.data, x, w.solve);
  }
};

}  // namespace jaxmg::routines
