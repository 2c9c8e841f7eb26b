// gesv: A X = B by LU. A is overwritten by its factors, as by getrf; right-hand sides are rows, not conjugated. If a
// pivot is zero, X is infinite or NaN.
#pragma once

#include "routines/getrf.h"
#include "routines/getrs.h"
#include "routines/record.h"

namespace jaxmg::routines {

struct Gesv : OnBlockColumns<Gesv> {
  static constexpr auto name = "gesv";
  static constexpr auto one_rank = &OneRankOrders::gesv;
  using Problem = SystemProblem;
  using Plan = SystemPlan;
  using Buffers = Signature<InOut<Shard>, InOut<RightHandSides>, Out<Pivots>, Out<Info>>;
  template <class T>
  using Workspace = Staged<FactorLu<T>, LuSolveWorkspace<T>, Dealing<T>>;

  static double seconds(const ColumnsCost& cost, const Problem& q, const Plan& plan) {
    return Getrf::seconds(cost, q, plan) + cost.potrs(q.n, q.nrhs, plan.tile, plan.depth, plan.distributed_rhs);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a, MatrixView<T> x,
                  MatrixView<std::int32_t> pivots, MatrixView<std::int32_t> info) {
    Getrf::run<T>(engine, q, plan, w, a, pivots, info);
    engine.join();
    w.solve(engine, q.layout(plan.tile), plan.depth, Trans::none, a, pivots.data, x);
  }
};

}  // namespace jaxmg::routines
