// upper: R from the factor of geqrf, by columns in block order, with zeros below its diagonal.
#pragma once

#include <algorithm>
#include <cstdint>

#include "algorithms/moves/upper.h"
#include "routines/geqrf.h"
#include "routines/record.h"

namespace jaxmg {

struct UpperColumns : OfScalars {
  static constexpr auto name = "r";
  static Shape shape(const auto& q, const auto&) { return {q.shard(), std::min(q.m, q.n)}; }
};

namespace routines {

struct Upper : OnBlockColumns<Upper> {
  static constexpr auto name = "upper";
  using Problem = RectangularProblem;
  using Plan = BlockColumnPlan;
  using Buffers = Signature<In<QrVectors>, Out<UpperColumns>>;
  template <class>
  using Workspace = NoWorkspace;

  static double seconds(const ColumnsCost& cost, const Problem& q, const Plan&) { return cost.deal(q.shard_bytes()); }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>&, MatrixView<T> a, MatrixView<T> r) {
    upper(engine, q.layout(plan.tile), a, r);
  }
};

}  // namespace routines
}  // namespace jaxmg
