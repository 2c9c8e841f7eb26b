// posv: A X = B. Overwrites A.
#pragma once

#include <cstdint>

#include "algorithms/cholesky/factor_status.h"
#include "algorithms/cholesky/potrs_few.h"
#include "algorithms/cholesky/potrs_many.h"
#include "planner/block_columns.h"
#include "planner/cost_model.h"
#include "routines/potrf.h"
#include "routines/potrs.h"
#include "routines/signature.h"

namespace jaxmg::routines {

struct Posv {
  static constexpr auto name = "posv";
  using Problem = SystemProblem;
  using Plan = SystemPlan;
  using Buffers = Signature<InOut<Shard>, InOut<RightHandSides>, Out<Info>>;
  static constexpr bool factors = true;

  template <class T>
  struct Workspace {
    StagedWorkspace memory;
    PotrfWorkspace<T> potrf;
    SolveWorkspace<T> solve;

    Workspace(Arena arena, const Problem& q, const Plan& plan)
        : memory(arena, q.layout(plan.tile)),
          potrf(memory.stage<PotrfWorkspace<T>>(q.layout(plan.tile), plan.depth, plan.slots,
                                                plan.distributed_rhs ? 0 : q.nrhs)),
          solve(memory.stage<SolveWorkspace<T>>(q, plan)) {
      memory.deal<T>(q.layout(plan.tile));
    }
    std::int64_t bytes() const { return memory.bytes(); }
  };

  static Planned<Plan> plan(const Problem& q) { return plan_block_columns<Posv>(q); }
  static double seconds(const ColumnsCost& cost, const Problem& q, const Plan& plan) {
    return Potrf::seconds(cost, q, plan) + Potrs::seconds(cost, q, plan);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a, MatrixView<T> x,
                  MatrixView<std::int32_t> info) {
    const TileColumns layout = q.layout(plan.tile);
    // A few right-hand sides go along with the factorisation, which leaves half of the solve.
    deal_and_factor(engine, layout, plan.depth, a, w.solve.few ? x : MatrixView<T>{}, w.potrf, w.memory);
    if (w.solve.few) {
      PotrsFew<T, E>(engine, layout, a, x, *w.solve.few).backward();
    } else {
      PotrsMany<T, E>(engine, layout, plan.depth, a, x, *w.solve.many).run();
    }
    conclude(engine, x, info.data, w.memory);
  }
};

}  // namespace jaxmg::routines
