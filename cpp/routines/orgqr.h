// orgqr: the columns of Q, in place of the factor of geqrf. Column j of the shards, in block order, is column j of Q;
// columns beyond the rows of A are zero.
//
// R in row blocks passes through unchanged, for XLA's sake: R is taken from the factor before Q overwrites it. Without
// that order, XLA copies the factor, and turns R and Q into row blocks at the same time.
#pragma once

#include <algorithm>
#include <cstdint>

#include "algorithms/qr/orgqr.h"
#include "routines/geqrf.h"
#include "routines/record.h"

namespace jaxmg::routines {

// This rank's rows of R.
struct RowsOfR : OfScalars {
  static constexpr auto name = "r";
  static Shape shape(const RectangularProblem& q, const Plan&) { return {q.share(std::min(q.m, q.n)), q.n}; }
};

// Stage: workspace of the algorithm.
template <class T>
struct FormQ : OrmqrWorkspace<T> {
  FormQ(Arena& arena, const RectangularProblem& q, const BlockColumnPlan& plan)
      : OrmqrWorkspace<T>(arena, q.layout(plan.tile), q.shard(), plan.slots) {}
};

struct Orgqr : OnBlockColumns<Orgqr> {
  static constexpr auto name = "orgqr";
  using Problem = RectangularProblem;
  using Plan = BlockColumnPlan;
  using Buffers = Signature<InOut<ColumnShard>, InOut<RowsOfR>, In<QrFactors>>;
  template <class T>
  using Workspace = Staged<FormQ<T>, Dealing<T>>;

  static std::int64_t preferred_depth(std::int64_t) { return 1; }
  static double seconds(const ColumnsCost& cost, const Problem& q, const Plan& plan) {
    return cost.deal(q.shard_bytes()) + cost.orgqr(q.m, q.n, plan.tile);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a, MatrixView<T>,
                  MatrixView<T> factors) {
    const TileColumns layout = q.layout(plan.tile);
    jaxmg::Orgqr<T, E>(engine, layout, a, factors, w).run();
    redistribute(engine, layout, a, w.shared(), true);
  }
};

}  // namespace jaxmg::routines
