// getrf: LU factorisation P A^T = L U with partial pivoting, from rows of A to factors in tile columns.
//
// Row i of A^T (column i of A) was interchanged with row pivots[i], from 0, for i = 0, 1, ...; pivots are replicated.
// `info` is LAPACK's, the number, from 1, of the first zero pivot, the same on every rank. The factorisation continues
// after a zero pivot; solves then divide by zero.
#pragma once

#include <algorithm>
#include <cstdint>

#include "algorithms/lu/getrf.h"
#include "routines/low_precision.h"
#include "routines/record.h"

namespace jaxmg {

struct Pivots : OfIntegers {
  static constexpr auto name = "pivots";
  static Shape shape(const auto& q, const auto&) { return {1, q.n}; }
};

namespace routines {

// Depth of the block columns of LU. Up to the first of these orders, the chain of panels takes longer than the
// products.
inline std::int64_t preferred_lu_depth(std::int64_t n) { return n > 49152 ? 2048 : n > 24576 ? 1024 : 1; }
// The plan may be made for another routine, which wants deeper ones. A tile column is the least.
inline std::int64_t lu_depth(const SquareProblem& q, const BlockColumnPlan& plan) {
  return std::max(plan.tile, std::min(plan.depth, preferred_lu_depth(q.n)));
}

// Stage: workspace of the algorithm.
template <class T>
struct FactorLu : GetrfWorkspace<T> {
  FactorLu(Arena& arena, const LowPrecisionProblem& q, const BlockColumnPlan& plan)
      : GetrfWorkspace<T>(arena, q.layout(plan.tile), plan.tile, lu_depth(q, plan), plan.slots, q.arithmetic) {}
};

struct Getrf : OnBlockColumns<Getrf> {
  static constexpr auto name = "getrf";
  static constexpr auto one_rank = &OneRankOrders::gesv;
  using Problem = LowPrecisionProblem;
  using Plan = BlockColumnPlan;
  using Buffers = Signature<InOut<Shard>, Out<Pivots>, Out<Info>>;
  template <class T>
  using Workspace = Staged<FactorLu<T>, Dealing<T>>;

  // Products in tensor cores leave the chain of panels exposed, which narrower tiles shorten: with two FP16 numbers on
  // four H100, N = 32768 and 65536 take 0.179 and 0.636 s with tiles of 256 columns, 0.204 and 0.679 s with 512.
  static Planned<Plan> plan(const Problem& q) {
    const Planned<Plan> made = plan_block_columns<Getrf>(q);
    if (q.tile > 0 || !q.by_blocks() || made.plan.solo() || made.plan.tile % 2 != 0) return made;
    Problem narrower = q;
    narrower.tile = made.plan.tile / 2;
    const Planned<Plan> other = plan_block_columns<Getrf>(narrower);
    return other.seconds < made.seconds ? other : made;
  }
  static std::int64_t preferred_depth(std::int64_t n) { return preferred_lu_depth(n); }
  // Panels have parts of the same size. With two FP16 numbers, n = 65536 on four H100 takes 0.72 s with block columns
  // of depth 1024, and 0.68 s with 2048, which do not fit into half a shard.
  static std::int64_t most_workspace(const LowPrecisionProblem& q) {
    return q.by_blocks() ? q.shard_bytes() : q.shard_bytes() / 2;
  }
  static double seconds(const ColumnsCost& cost, const LowPrecisionProblem& q, const Plan& plan) {
    return cost.deal(q.shard_bytes()) + cost.getrf(q.n, plan.tile, lu_depth(q, plan), q.arithmetic);
  }

  // Deals A and factors it. The workspace may belong to another routine.
  template <class T, class E>
  static void run(E& engine, const SquareProblem& q, const Plan& plan, auto& w, MatrixView<T> a,
                  MatrixView<std::int32_t> pivots, MatrixView<std::int32_t> info) {
    const TileColumns layout = q.layout(plan.tile);
    begin_status(engine, w);
    redistribute(engine, layout, a, w.shared(), false);
    jaxmg::Getrf<T, E>(engine, layout, a, pivots.data, w, w.info + engine.rank()).run();
    conclude(engine, MatrixView<T>{}, info.data, w);
  }
};

}  // namespace routines
}  // namespace jaxmg
