// trtrs: A X = B or A^T X = B with a triangle of A. Right-hand sides are rows, not conjugated. Deals A in tile columns.
//
// Nothing else of A is read: the other triangle, or a diagonal of ones, may hold anything.
#pragma once

#include <cstdint>
#include <optional>

#include "algorithms/cholesky/factor_status.h"
#include "algorithms/moves/redistribute.h"
#include "algorithms/triangular/triangle.h"
#include "algorithms/triangular/trsm_few.h"
#include "algorithms/triangular/trsm_many.h"
#include "planner/block_columns.h"
#include "planner/cost_model.h"
#include "routines/signature.h"

namespace jaxmg::routines {

struct Trtrs {
  static constexpr auto name = "trtrs";
  struct Problem : SystemProblem {
    bool lower = false, transposed = false, unit_diagonal = false;

    template <class Visit>
    void fields(Visit&& visit) {
      SystemProblem::fields(visit);
      visit("lower", lower);
      visit("transposed", transposed);
      visit("unit_diagonal", unit_diagonal);
    }
    // The shards are columns of A^T.
    TriangularSystem system() const {
      return {lower ? Uplo::upper : Uplo::lower, transposed ? Op::none : Op::transpose,
              unit_diagonal ? Diag::unit : Diag::non_unit};
    }
  };
  using Plan = SystemPlan;
  using Buffers = Signature<InOut<Shard>, InOut<RightHandSides>>;

  // By the layout of the right-hand sides.
  template <class T>
  struct Solve {
    std::optional<TrsmFewWorkspace<T>> few;    // all ranks have all of them
    std::optional<TrsmManyWorkspace<T>> many;  // each rank has its own

    Solve(Arena& arena, const Problem& q, const Plan& plan) {
      const TileColumns layout = q.layout(plan.tile);
      if (plan.distributed_rhs) {
        many.emplace(arena, layout, plan.depth, plan.slots);
      } else {
        few.emplace(arena, layout, q.nrhs);
      }
    }
  };
  template <class T>
  struct Workspace {
    StagedWorkspace memory;
    Solve<T> solve;

    Workspace(Arena arena, const Problem& q, const Plan& plan)
        : memory(arena, q.layout(plan.tile)), solve(memory.stage<Solve<T>>(q, plan)) {
      memory.deal<T>(q.layout(plan.tile));
    }
    std::int64_t bytes() const { return memory.bytes(); }
  };

  static Planned<Plan> plan(const Problem& q) { return plan_block_columns<Trtrs>(q); }
  static double seconds(const ColumnsCost& cost, const Problem& q, const Plan& plan) {
    return cost.deal(static_cast<double>(q.shard_bytes())) +
           cost.potrs(q.n, q.nrhs, plan.tile, plan.depth, plan.distributed_rhs) / 2;
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a, MatrixView<T> x) {
    const TileColumns layout = q.layout(plan.tile);
    redistribute(engine, layout, a, w.memory.shared(), false);
    if (w.solve.few) {
      TrsmFew<T, E> solver(engine, layout, a, x, *w.solve.few);
      solver.solve(q.system());
      if (q.system().op == Op::none) solver.share();
    } else {
      TrsmMany<T, E>(engine, layout, plan.depth, a, x, *w.solve.many).solve(q.system());
    }
    engine.join();
  }
};

}  // namespace jaxmg::routines
