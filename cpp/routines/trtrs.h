// trtrs: A X = B or A^T X = B with a triangle of A. Right-hand sides are rows, not conjugated. Deals A in tile columns.
//
// The other triangle, and with an implicit unit diagonal also the diagonal, are not read and may hold any values.
#pragma once

#include "algorithms/moves/redistribute.h"
#include "algorithms/triangular/triangle.h"
#include "routines/record.h"
#include "routines/sweeps.h"

namespace jaxmg::routines {

struct Trtrs : OnBlockColumns<Trtrs> {
  static constexpr auto name = "trtrs";
  static constexpr auto one_rank = &OneRankOrders::trtrs;
  static constexpr bool uses_up_a = true;
  struct Problem : SystemProblem {
    bool lower = false, transposed = false, unit_diagonal = false;

    void fields(auto&& visit) {
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
  template <class T>
  using Workspace = Staged<SweepsWorkspace<T>, Dealing<T>>;

  static double seconds(const ColumnsCost& cost, const SystemProblem& q, const Plan& plan) {
    return cost.deal(q.shard_bytes()) + cost.sweeps(q.n, q.nrhs, plan.tile, plan.depth, plan.distributed_rhs) / 2;
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a, MatrixView<T> x) {
    const TileColumns layout = q.layout(plan.tile);
    redistribute(engine, layout, a, w.shared(), false);
    w.solve(engine, layout, plan.depth, a, x, q.system());
  }
};

}  // namespace jaxmg::routines
