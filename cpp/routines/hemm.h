// hemm: this rank's part of A X, for a Hermitian A in rows of its upper triangle; A is only read.
#pragma once

#include "algorithms/cholesky/hemm.h"
#include "routines/record.h"

namespace jaxmg::routines {

struct Hemm : OnBlockColumns<Hemm> {
  static constexpr auto name = "hemm";
  using Problem = SystemProblem;
  using Plan = BlockColumnPlan;
  // Vectors as rows, conjugated: all of them on every rank.
  struct Vectors : OfScalars {
    static constexpr auto name = "x";
    static Shape shape(const Problem& q, const Plan&) { return {q.nrhs, q.n}; }
  };
  using Buffers = Signature<In<Shard>, In<Vectors>, Out<Vectors>>;
  template <class T>
  using Workspace = Staged<HemmWorkspace<T>>;

  static double seconds(const ColumnsCost& cost, const Problem& q, const Plan& plan) {
    return cost.hemm(q.n, q.nrhs, plan.tile);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a, MatrixView<T> x,
                  MatrixView<T> y) {
    const TileColumns layout = q.layout(plan.tile);
    jaxmg::Hemm<T, E>(engine, layout, a, w).run(x, y);
  }
};

}  // namespace jaxmg::routines
