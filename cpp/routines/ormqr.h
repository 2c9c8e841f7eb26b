// ormqr: Q B or Q^H B with the factor of geqrf. Columns of B are rows, not conjugated.
#pragma once

#include <cstdint>

#include "algorithms/qr/ormqr.h"
#include "routines/geqrf.h"
#include "routines/record.h"

namespace jaxmg {

// Right-hand sides as rows: this rank's share or all.
struct Columns : OfScalars {
  static constexpr auto name = "b";
  static Shape shape(const auto& q, const auto& plan) { return {plan.columns_of_rank(q), q.m}; }
};

namespace routines {

// Stage: workspace of the algorithm.
template <class T>
struct ApplyQ : OrmqrWorkspace<T> {
  ApplyQ(Arena& arena, const RectangularSystemProblem& q, const SystemPlan& plan)
      : OrmqrWorkspace<T>(arena, q.layout(plan.tile), plan.columns_of_rank(q), plan.distributed_rhs ? plan.slots : 1) {}

  template <class E>
  void apply(E& engine, const TileColumns& layout, bool distributed, Op op, MatrixView<T> a, MatrixView<T> factors,
             MatrixView<T> b) {
    Ormqr<T, E> ormqr(engine, layout, a, factors, *this);
    if (distributed) {
      ormqr.apply_to_own(op, b);
    } else {
      ormqr.apply_to_shared(op, b);
    }
  }
};

struct Ormqr : OnBlockColumns<Ormqr> {
  static constexpr auto name = "ormqr";
  using Problem = QrSystemProblem;
  using Plan = SystemPlan;
  using Buffers = Signature<InOut<Columns>, In<QrVectors>, In<QrFactors>>;
  template <class T>
  using Workspace = Staged<ApplyQ<T>>;

  static std::int64_t preferred_depth(std::int64_t) { return 1; }
  static double seconds(const ColumnsCost& cost, const RectangularSystemProblem& q, const Plan& plan) {
    return cost.ormqr(q.m, q.n, q.nrhs, plan.tile, plan.distributed_rhs);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> b, MatrixView<T> a,
                  MatrixView<T> factors) {
    w.apply(engine, q.layout(plan.tile), plan.distributed_rhs, q.op(), a, factors, b);
  }
};

}  // namespace routines
}  // namespace jaxmg
