// potrf: A = L L^H, from rows of A to a factor in dealt tile columns.
//
// A matrix that is not positive definite makes all of the result NaN, on every rank, and `info` is LAPACK's, the same
// on all ranks. This holds for every Cholesky routine.
#pragma once

#include <cstdint>

#include "algorithms/cholesky/factor_status.h"
#include "algorithms/cholesky/potrf.h"
#include "algorithms/moves/redistribute.h"
#include "planner/block_columns.h"
#include "planner/cost_model.h"
#include "routines/signature.h"

namespace jaxmg::routines {

// Deals A, and factors it with right-hand sides going along, or none.
template <class T, class E>
void deal_and_factor(E& engine, const TileColumns& layout, std::int64_t depth, MatrixView<T> a, MatrixView<T> along,
                     PotrfWorkspace<T>& potrf, const StagedWorkspace& memory) {
  begin_status(engine, memory);
  redistribute(engine, layout, a, memory.shared(), false);
  jaxmg::Potrf<T, E>(engine, layout, depth, a, along, potrf, memory.info + engine.rank()).run();
}

struct Potrf {
  static constexpr auto name = "potrf";
  using Problem = SquareProblem;
  using Plan = BlockColumnPlan;
  using Buffers = Signature<InOut<Shard>, Out<Info>>;
  static constexpr bool factors = true;

  template <class T>
  struct Workspace {
    StagedWorkspace memory;
    PotrfWorkspace<T> potrf;

    Workspace(Arena arena, const Problem& q, const Plan& plan)
        : memory(arena, q.layout(plan.tile)),
          potrf(memory.stage<PotrfWorkspace<T>>(q.layout(plan.tile), plan.depth, plan.slots, 0)) {
      memory.deal<T>(q.layout(plan.tile));
    }
    std::int64_t bytes() const { return memory.bytes(); }
  };

  static Planned<Plan> plan(const Problem& q) { return plan_block_columns<Potrf>(q); }
  static double seconds(const ColumnsCost& cost, const Problem& q, const Plan& plan) {
    return cost.deal(static_cast<double>(q.shard_bytes())) + cost.potrf(q.n, plan.tile, plan.depth);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a,
                  MatrixView<std::int32_t> info) {
    deal_and_factor(engine, q.layout(plan.tile), plan.depth, a, {}, w.potrf, w.memory);
    conclude(engine, a, info.data, w.memory);
  }
};

}  // namespace jaxmg::routines
