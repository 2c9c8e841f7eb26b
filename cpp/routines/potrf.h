// potrf: A = L L^H, from rows of A to a factor in dealt tile columns.
//
// A matrix that is not positive definite makes all of the result NaN, on every rank, and `info` is LAPACK's, the same
// on all ranks. This holds for every Cholesky routine.
#pragma once

#include "algorithms/cholesky/potrf.h"
#include "routines/low_precision.h"
#include "routines/record.h"

namespace jaxmg::routines {

template <class T>
struct PotrfStage : PotrfWorkspace<T> {
  PotrfStage(Arena& arena, const LowPrecisionProblem& q, const BlockColumnPlan& plan)
      : PotrfWorkspace<T>(arena, q.layout(plan.tile), plan.depth, plan.slots, 0, q.arithmetic) {}
};

struct Potrf : OnBlockColumns<Potrf> {
  static constexpr auto name = "potrf";
  static constexpr auto one_rank = &OneRankOrders::posv;
  static constexpr bool factors = true;
  static constexpr bool reads_lower = true;
  using Problem = LowPrecisionProblem;
  using Plan = BlockColumnPlan;
  using Buffers = Signature<InOut<Shard>, Out<Info>>;
  template <class T>
  using Workspace = Staged<PotrfStage<T>, Dealing<T>>;

  static double seconds(const ColumnsCost& cost, const LowPrecisionProblem& q, const Plan& plan) {
    return cost.deal(q.shard_bytes()) + cost.potrf(q.n, plan.tile, plan.depth, q.arithmetic);
  }

  template <class T, class E>
  static void run(E& engine, const LowPrecisionProblem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a,
                  MatrixView<std::int32_t> info) {
    deal_and_factor<T>(engine, q, plan, w, a, {});
    conclude(engine, a, info.data, w);
  }

  // Deals A and factors it, updating right-hand sides, if any. The workspace may belong to another routine.
  template <class T, class E>
  static void deal_and_factor(E& engine, const SquareProblem& q, const Plan& plan, auto& w, MatrixView<T> a,
                              MatrixView<T> along) {
    const TileColumns layout = q.layout(plan.tile);
    begin_status(engine, w);
    redistribute(engine, layout, a, w.shared(), false);
    jaxmg::Potrf<T, E>(engine, layout, plan.depth, a, along, w, w.info + engine.rank()).run();
  }
};

}  // namespace jaxmg::routines
