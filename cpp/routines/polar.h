// polar: A = U H (H on the right) or A = H U (on the left), U unitary, H Hermitian and positive semidefinite. Rows of U
// overwrite A.
//
// The shards are columns of M = A^T. Its unitary factor is U^T, whose columns are the rows of U. In the same way the H
// on the right of M has the rows of the left H of A, and the H on its left the rows of the right one.
#pragma once

#include <cstdint>

#include "algorithms/moves/redistribute.h"
#include "algorithms/svd/polar_factors.h"
#include "routines/record.h"

namespace jaxmg::routines {

struct Polar {
  static constexpr auto name = "polar";
  static constexpr bool factors = true;
  static constexpr bool data_decides = true;  // steps of the iteration
  struct Problem : SquareProblem {
    bool left = false;     // A = H U
    bool factor_h = true;  // H is a result

    void fields(auto&& visit) {
      SquareProblem::fields(visit);
      visit("left", left);
      visit("factor_h", factor_h);
    }
  };
  using Plan = BlockColumnPlan;
  struct Hermitian : OfScalars {
    static constexpr auto name = "h";
    static Shape shape(const Problem& q, const auto&) { return q.factor_h ? Shape{q.shard(), q.n} : Shape{}; }
  };
  using Buffers = Signature<InOut<Shard>, Out<Hermitian>, Out<Info>>;

  template <class T>
  struct Workspace : PolarFactorsWorkspace<T> {
    Workspace(Arena arena, const Problem& q, const Plan& plan)
        : PolarFactorsWorkspace<T>(arena, q.layout(plan.tile), plan.depth, plan.slots, q.factor_h) {
      this->memory.template stage<Dealing<T>>(q, plan);
    }
    std::int64_t bytes() const { return this->memory.bytes(); }
  };

  static Planned<Plan> plan(const Problem& q) {
    q.check();
    Planned<Plan> made;
    made.plan.tile = choose_tile(q);
    choose_block_columns(q, made.plan);
    made.shard_bytes = q.shard_bytes();
    made.rhs_bytes = q.factor_h ? q.shard_bytes() : 0;
    measure_workspace<Polar>(q, made);
    while (exceeds_limit(q, made) && shrink(made.plan)) measure_workspace<Polar>(q, made);
    check_limit(q, made);
    made.seconds = cost_of(q).polar(q.n, made.plan.tile, made.plan.depth);
    return made;
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a, MatrixView<T> h,
                  MatrixView<std::int32_t> info) {
    const TileColumns layout = q.layout(plan.tile);
    redistribute(engine, layout, a, w.memory.shared(), false);
    PolarFactors<T, E>(engine, layout, plan.depth, a, h, !q.left, info.data, w).run();
    redistribute(engine, layout, a, w.memory.shared(), true);
    if (q.factor_h) redistribute(engine, layout, h, w.memory.shared(), true);
  }
};

}  // namespace jaxmg::routines
