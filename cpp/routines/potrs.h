// potrs: L L^H X = B with a dealt factor, or one of its triangular systems, L Y = B or L^H X = Y.
#pragma once

#include "algorithms/cholesky/potrs_few.h"
#include "algorithms/cholesky/potrs_many.h"
#include "routines/record.h"
#include "routines/sweeps.h"

namespace jaxmg {

// Triangular systems that a solve with a factor consists of.
enum class Sweeps : std::int64_t { both = 0, forward = 1, backward = 2 };

namespace routines {

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
    w.template with<PotrsFew, PotrsMany>(engine, layout, plan.depth, factor, x, [&](auto&& solver) {
      if (q.sweeps != Sweeps::backward) solver.forward();
      if (q.sweeps != Sweeps::forward) solver.backward();
      if constexpr (requires { solver.share(); }) {
        if (q.sweeps == Sweeps::forward) solver.share();
      }
    });
    conclude(engine, x, w.failed, w);
  }
};

}  // namespace routines
}  // namespace jaxmg
