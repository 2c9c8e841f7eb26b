// posv: A X = B. Overwrites A.
#pragma once

#include "routines/potrf.h"
#include "routines/potrs.h"
#include "routines/record.h"

namespace jaxmg::routines {

// A few right-hand sides are updated along with the factorisation, which leaves the backward substitution.
template <class T>
struct FactorWithRightHandSides : PotrfWorkspace<T> {
  FactorWithRightHandSides(Arena& arena, const SystemProblem& q, const SystemPlan& plan)
      : PotrfWorkspace<T>(arena, q.layout(plan.tile), plan.depth, plan.slots, plan.distributed_rhs ? 0 : q.nrhs) {}
};

struct Posv : OnBlockColumns<Posv> {
  static constexpr auto name = "posv";
  static constexpr auto one_rank = &OneRankOrders::posv;
  static constexpr bool uses_up_a = true;
  static constexpr bool reads_lower = true;
  static constexpr bool factors = true;
  using Problem = SystemProblem;
  using Plan = SystemPlan;
  using Buffers = Signature<InOut<Shard>, InOut<RightHandSides>, Out<Info>>;
  template <class T>
  using Workspace = Staged<FactorWithRightHandSides<T>, SweepsWorkspace<T>, Dealing<T>>;

  static double seconds(const ColumnsCost& cost, const Problem& q, const Plan& plan) {
    return Potrf::seconds(cost, q, plan) + cost.potrs(q.n, q.nrhs, plan.tile, plan.depth, plan.distributed_rhs);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a, MatrixView<T> x,
                  MatrixView<std::int32_t> info) {
    const TileColumns layout = q.layout(plan.tile);
    Potrf::deal_and_factor(engine, q, plan, w, a, w.few ? x : MatrixView<T>{});
    const Sweeps left = w.few ? Sweeps::backward : Sweeps::both;
    w.with(engine, layout, plan.depth, a, x, [&](auto&& solver) { potrs(left, solver); });
    conclude(engine, x, info.data, w);
  }
};

}  // namespace jaxmg::routines
