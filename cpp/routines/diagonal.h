// diagonal: the diagonal of a dealt factor, replicated on every rank.
#pragma once

#include "algorithms/moves/diagonal.h"
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
    jaxmg::diagonal(engine, q.layout(plan.tile), factor, diagonal);
  }
};

}  // namespace jaxmg::routines
