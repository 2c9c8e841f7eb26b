// potrs: L L^H X = B with a dealt factor, or one of its triangular systems, L Y = B or L^H X = Y.
#pragma once

#include "algorithms/cholesky/potrs.h"
#include "routines/record.h"
#include "routines/sweeps.h"

namespace jaxmg::routines {

struct Potrs : OnBlockColumns<Potrs> {
  static constexpr auto name = "potrs";
  static constexpr auto one_rank = &OneRankOrders::posv;
  static constexpr bool reads_lower = true;
  struct Problem : SystemProblem {
    Sweeps sweeps = Sweeps::both;

    void fields(auto&& visit) {
      SystemProblem::fields(visit);
      visit("sweeps", sweeps);
    }
  };
  using Plan = SystemPlan;
  using Buffers = Signature<InOut<RightHandSides>, In<Factor>>;
  template <class T>
  using Workspace = Staged<SweepsWorkspace<T>>;

  static double seconds(const ColumnsCost& cost, const SystemProblem& q, const Plan& plan) {
    return cost.sweeps(q.n, q.nrhs, plan.tile, plan.depth, plan.distributed_rhs);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> x,
                  MatrixView<T> factor) {
    const TileColumns layout = q.layout(plan.tile);
    check_diagonal(engine, layout, factor, w);
    w.with(engine, layout, plan.depth, factor, x, [&](auto&& solver) { potrs(q.sweeps, solver); });
    conclude(engine, x, w.failed, w);
  }
};

}  // namespace jaxmg::routines
