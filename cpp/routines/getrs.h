// getrs: A X = B, A^T X = B or A^H X = B with the factors of getrf. Right-hand sides are rows, not conjugated.
#pragma once

#include "algorithms/lu/getrs.h"
#include "routines/getrf.h"
#include "routines/record.h"
#include "routines/sweeps.h"

namespace jaxmg::routines {

// Stage: workspace of the algorithm.
template <class T>
struct LuSolveWorkspace : SweepsWorkspace<T> {
  RowMoves* moves;

  LuSolveWorkspace(Arena& arena, const SystemProblem& q, const SystemPlan& plan)
      : SweepsWorkspace<T>(arena, q, plan), moves(arena.take<RowMoves>(q.n)) {}

  template <class E>
  void solve(E& engine, const TileColumns& layout, std::int64_t depth, Trans trans, MatrixView<T> factor,
             const std::int32_t* pivots, MatrixView<T> x) {
    this->with(engine, layout, depth, factor, x,
               [&](auto&& sweeps) { getrs(engine, layout.order(), trans, pivots, moves, sweeps, x); });
  }
};

struct Getrs : OnBlockColumns<Getrs> {
  static constexpr auto name = "getrs";
  static constexpr auto one_rank = &OneRankOrders::gesv;
  struct Problem : SystemProblem {
    Trans trans = Trans::none;

    void fields(auto&& visit) {
      SystemProblem::fields(visit);
      visit("trans", trans);
    }
  };
  using Plan = SystemPlan;
  using Buffers = Signature<InOut<RightHandSides>, In<Factor>, In<Pivots>>;
  template <class T>
  using Workspace = Staged<LuSolveWorkspace<T>>;

  static double seconds(const ColumnsCost& cost, const SystemProblem& q, const Plan& plan) {
    return cost.sweeps(q.n, q.nrhs, plan.tile, plan.depth, plan.distributed_rhs);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> x, MatrixView<T> factor,
                  MatrixView<std::int32_t> pivots) {
    w.solve(engine, q.layout(plan.tile), plan.depth, q.trans, factor, pivots.data, x);
  }
};

}  // namespace jaxmg::routines
