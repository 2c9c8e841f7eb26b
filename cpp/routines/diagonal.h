// diagonal: the diagonal of a dealt factor, replicated on every rank.
#pragma once

#include <vector>

#include "comm/block.h"
#include "routines/record.h"

namespace jaxmg::routines {

struct Diagonal : OnBlockColumns<Diagonal> {
  static constexpr auto name = "diagonal";
  using Problem = SquareProblem;
  using Plan = BlockColumnPlan;
  struct Values : OfScalars {
    static constexpr auto name = "diagonal";
    static Shape shape(const Problem& q, const Plan&) { return {1, q.n}; }
  };
  using Buffers = Signature<In<Shard>, Out<Values>>;
  template <class>
  using Workspace = NoWorkspace;

  static double seconds(const ColumnsCost& cost, const Problem&, const Plan&) { return cost.step(); }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, NoWorkspace&, MatrixView<T> factor,
                  MatrixView<T> diagonal) {
    const TileColumns layout = q.layout(plan.tile);
    std::vector<Block> pieces;
    for (std::int64_t t = 0; t < layout.count(); ++t) {
      const MatrixView<T> from{factor.at(layout.begin(t), layout.local_offset(t)), 1, layout.width(t), factor.ld + 1};
      const MatrixView<T> to{diagonal.at(layout.begin(t), 0), 1, layout.width(t), 1};
      pieces.push_back(make_block(layout.owner(t), all_ranks, from, to));
    }
    engine.exchange(Lane::panel, pieces);
    engine.join();
  }
};

}  // namespace jaxmg::routines
