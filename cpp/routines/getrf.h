// getrf: P A^T = L U, from rows of A to factors in dealt tile columns, with exact partial pivoting.
//
// Row i of A^T, column i of A, was interchanged with row pivots[i], counted from 0, for i = 0, 1, ...; every rank has
// all pivots. `info` is LAPACK's, the number from 1 of the first zero pivot, the same on every rank; the factorisation
// goes on behind it, and solves then divide by zero.
#pragma once

#include <cstdint>

#include "algorithms/cholesky/factor_status.h"
#include "algorithms/lu/getrf.h"
#include "algorithms/moves/redistribute.h"
#include "planner/block_columns.h"
#include "planner/cost_model.h"
#include "routines/signature.h"

namespace jaxmg {

struct Pivots {
  static constexpr auto name = "pivots";
  template <class>
  using Element = std::int32_t;
  static Shape shape(const auto& q, const auto&) { return {1, q.n}; }
};

namespace routines {

// Deals A, and factors it.
template <class T, class E>
void deal_and_factor_lu(E& engine, const TileColumns& layout, MatrixView<T> a, MatrixView<std::int32_t> pivots,
                        MatrixView<std::int32_t> info, GetrfWorkspace<T>& getrf, const StagedWorkspace& memory) {
  begin_status(engine, memory);
  redistribute(engine, layout, a, memory.shared(), false);
  jaxmg::Getrf<T, E>(engine, layout, a, pivots.data, getrf, memory.info + engine.rank()).run();
  conclude(engine, MatrixView<T>{}, info.data, memory);
}

struct Getrf {
  static constexpr auto name = "getrf";
  using Problem = SquareProblem;
  using Plan = BlockColumnPlan;
  using Buffers = Signature<InOut<Shard>, Out<Pivots>, Out<Info>>;

  template <class T>
  struct Workspace {
    StagedWorkspace memory;
    GetrfWorkspace<T> getrf;

    Workspace(Arena arena, const Problem& q, const Plan& plan)
        : memory(arena, q.layout(plan.tile)),
          getrf(memory.stage<GetrfWorkspace<T>>(q.layout(plan.tile), lu_leaf(q, plan.tile), plan.slots)) {
      memory.deal<T>(q.layout(plan.tile));
    }
    std::int64_t bytes() const { return memory.bytes(); }
  };

  // A block column is one tile, whose rows lie on one rank.
  static std::int64_t preferred_depth(std::int64_t) { return 1; }
  static Planned<Plan> plan(const Problem& q) { return plan_block_columns<Getrf>(q); }
  static double seconds(const ColumnsCost& cost, const SquareProblem& q, const Plan& plan) {
    return cost.deal(static_cast<double>(q.shard_bytes())) + cost.getrf(q.n, plan.tile);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a,
                  MatrixView<std::int32_t> pivots, MatrixView<std::int32_t> info) {
    deal_and_factor_lu(engine, q.layout(plan.tile), a, pivots, info, w.getrf, w.memory);
  }
};

}  // namespace routines
}  // namespace jaxmg
