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

struct Upper {
  static constexpr auto name = "upper";
  using Problem = RectangularProblem;
  using Plan = jaxmg::Plan;
  using Buffers = Signature<In<QrVectors>, Out<UpperColumns>>;
  template <class>
  using Workspace = NoWorkspace;

  static Planned<Plan> plan(const Problem& q) {
    q.check();
    Planned<Plan> made;
    made.plan.tile = choose_tile(q);
    made.shard_bytes = q.shard_bytes();
    made.workspace_bytes = workspace_bytes<Upper>(q, made.plan);
    made.seconds = ColumnsCost(q.platform, q.type, q.ranks, q.network).deal(static_cast<double>(q.shard_bytes()));
    return made;
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>&, MatrixView<T> a, MatrixView<T> r) {
    upper(engine, q.layout(plan.tile), a, r);
  }
};

}  // namespace routines
}  // namespace jaxmg
