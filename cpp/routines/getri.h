// getri: A^-1, by rows, from the factors of getrf.
#pragma once

#include "algorithms/lu/getri.h"
#include "routines/getrf.h"
#include "routines/record.h"

namespace jaxmg::routines {

// Stage: workspace of the algorithm.
template <class T>
struct InvertLu : GetriWorkspace<T> {
  InvertLu(Arena& arena, const SquareProblem& q, const BlockColumnPlan& plan)
      : GetriWorkspace<T>(arena, q.layout(plan.tile), plan.slots) {}
};

struct Getri : OnBlockColumns<Getri> {
  static constexpr auto name = "getri";
  static constexpr auto one_rank = &OneRankOrders::gesv;
  using Problem = SquareProblem;
  using Plan = BlockColumnPlan;
  using Buffers = Signature<InOut<Shard>, In<Pivots>>;
  template <class T>
  using Workspace = Staged<InvertLu<T>, Dealing<T>>;

  static std::int64_t preferred_depth(std::int64_t) { return 1; }  // a tile
  static double seconds(const ColumnsCost& cost, const Problem& q, const Plan& plan) {
    return cost.getri(q.n, plan.tile);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a,
                  MatrixView<std::int32_t> pivots) {
    const TileColumns layout = q.layout(plan.tile);
    jaxmg::Getri<T, E>(engine, layout, a, pivots.data, w).run();
    redistribute(engine, layout, a, w.shared(), true);
  }
};

}  // namespace jaxmg::routines
