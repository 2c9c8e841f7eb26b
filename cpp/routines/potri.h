// potri: A^-1, both triangles, by rows, from a dealt factor.
#pragma once

#include <algorithm>

#include "algorithms/cholesky/potri.h"
#include "algorithms/moves/mirror.h"
#include "routines/record.h"

namespace jaxmg::routines {

struct Potri : OnBlockColumns<Potri> {
  static constexpr auto name = "potri";
  static constexpr auto one_rank = &OneRankOrders::posv;
  static constexpr bool reads_lower = true;
  using Problem = SquareProblem;
  using Plan = BlockColumnPlan;
  using Buffers = Signature<InOut<Shard>>;
  template <class T>
  using Workspace = Staged<PotriWorkspace<T>, MirrorWorkspace<T>, Dealing<T>>;

  // An inverse has no chain of diagonal blocks that deep updates would make longer.
  static std::int64_t preferred_depth(std::int64_t n) {
    return std::max<std::int64_t>(jaxmg::preferred_depth(n), n > 24576 ? 2048 : 0);
  }
  static double seconds(const ColumnsCost& cost, const Problem& q, const Plan& plan) {
    return cost.potri(q.n, plan.tile, plan.depth);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a) {
    const TileColumns layout = q.layout(plan.tile);
    check_diagonal(engine, layout, a, w);
    jaxmg::Potri<T, E>(engine, layout, plan.depth, a, w).run();
    mirror(engine, layout, plan.depth, a, w);
    redistribute(engine, layout, a, w.shared(), true);
    conclude(engine, a, w.failed, w);
  }
};

}  // namespace jaxmg::routines
