// lower: L, by rows, from a dealt factor. Column j of the shards, in block order, is row j of L, conjugated and padded
// with zeros.
#pragma once

#include "algorithms/moves/adjoint_of_lower.h"
#include "routines/record.h"

namespace jaxmg::routines {

struct Lower : OnBlockColumns<Lower> {
  static constexpr auto name = "lower";
  static constexpr auto one_rank = &OneRankOrders::posv;
  static constexpr bool reads_lower = true;
  using Problem = SquareProblem;
  using Plan = BlockColumnPlan;
  using Buffers = Signature<InOut<Shard>>;
  template <class T>
  using Workspace = Staged<MirrorWorkspace<T>, Dealing<T>>;

  static double seconds(const ColumnsCost& cost, const Problem& q, const Plan&) {
    return 2 * cost.deal(q.shard_bytes()) + 2 * cost.pass(static_cast<double>(q.shard_bytes()));
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a) {
    const TileColumns layout = q.layout(plan.tile);
    check_diagonal(engine, layout, a, w);
    adjoint_of_lower(engine, layout, plan.depth, a, w);
    redistribute(engine, layout, a, w.shared(), true);
    conclude(engine, a, w.failed, w);
  }
};

}  // namespace jaxmg::routines
