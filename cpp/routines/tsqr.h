// tsqr: QR factorisation of a tall matrix, whose rows stay where they are.
//
// Q replaces A; without `vectors` A is overwritten. R is replicated. `info` is the number, from 1, of the first zero on
// the diagonal of R, or 0, the same on every rank.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "algorithms/qr/tsqr.h"
#include "routines/geqrf.h"
#include "routines/record.h"

namespace jaxmg::routines {

// A tall matrix whose rows are divided among the ranks in blocks.
struct TallProblem : RectangularProblem {
  void check() const {
    RectangularProblem::check();
    require(m >= n,
            "a tall matrix has at least as many rows as columns, got " + std::to_string(m) + " x " + std::to_string(n));
  }
  std::int64_t shard() const { return share(m); }
  std::int64_t shard_bytes() const { return shard() * n * size_of(type); }
  TallRows rows_of_ranks() const { return {m, n, shard(), static_cast<int>(ranks), piece}; }

  // Rows that reflectors are applied to at once: the kernel of geqrt holds a column of them in shared memory.
  static constexpr std::int64_t piece = std::int64_t{1} << 18;
};

// This rank's rows.
struct TallShard : OfScalars {
  static constexpr auto name = "a";
  static Shape shape(const TallProblem& q, const Plan&) { return {q.shard(), q.n}; }
};
struct ReplicatedR : OfScalars {
  static constexpr auto name = "r";
  static Shape shape(const TallProblem& q, const Plan&) { return {q.n, q.n}; }
};

// A tall matrix and right-hand sides, as rows, conjugated: this rank's elements, and the replicated solutions.
struct TallSystem : WithRightHandSides<TallProblem> {
  std::int64_t rhs_bytes() const { return (shard() + n) * nrhs * size_of(type); }
};
struct TallRhs : OfScalars {
  static constexpr auto name = "w";
  static Shape shape(const TallSystem& q, const Plan&) { return {q.nrhs, q.shard()}; }
};
struct TallSolution : OfScalars {
  static constexpr auto name = "x";
  static Shape shape(const TallSystem& q, const Plan&) { return {q.nrhs, q.n}; }
};

// Base of a routine R on a tall matrix, with their planner.
template <class R>
struct OnTallRows {
  using Plan = jaxmg::Plan;

  static Planned<Plan> plan(const auto& q) {
    q.check();
    Planned<Plan> made;
    made.plan.tile = std::min<std::int64_t>(q.n, q.tile > 0 ? q.tile : 128);
    made.plan.largest_potrf = q.n;
    made.shard_bytes = q.shard_bytes();
    if constexpr (requires { q.rhs_bytes(); }) made.rhs_bytes = q.rhs_bytes();
    made.workspace_bytes = workspace_bytes<R>(q, made.plan);
    check_limit(q, made);
    made.seconds = R::seconds(cost_of(q), q);
    return made;
  }
};

// The first zero on the diagonal of R.
template <class T, class E>
void conclude_tall(E& engine, MatrixView<T> r, MatrixView<std::int32_t> info, const StatusWorkspace& w) {
  engine.check_pivots(Lane::panel, r, 0, w.info + engine.rank());
  conclude(engine, MatrixView<T>{}, info.data, w);
  engine.join();
}

struct Tsqr : OnTallRows<Tsqr> {
  static constexpr auto name = "tsqr";
  static constexpr bool data_decides = true;  // whether Gram matrices suffice
  struct Problem : TallProblem {
    bool vectors = true;

    void fields(auto&& visit) {
      TallProblem::fields(visit);
      visit("vectors", vectors);
    }
  };
  using Buffers = Signature<InOut<TallShard>, Out<ReplicatedR>, Out<Info>>;

  // Stage: workspace of the algorithm.
  template <class T>
  struct FactorTall : TsqrWorkspace<T> {
    FactorTall(Arena& arena, const Problem& q, const Plan& plan)
        : TsqrWorkspace<T>(arena, q.rows_of_ranks(), plan.tile, geqrt_leaf) {}
  };
  template <class T>
  using Workspace = Staged<FactorTall<T>>;

  static double seconds(const ColumnsCost& cost, const Problem& q) { return cost.tsqr(q.m, q.n, q.vectors); }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan&, Workspace<T>& w, MatrixView<T> a, MatrixView<T> r,
                  MatrixView<std::int32_t> info) {
    begin_status(engine, w);
    jaxmg::Tsqr<T, E>(engine, q.rows_of_ranks(), q.vectors, a, r, w).run();
    conclude_tall(engine, r, info, w);
  }
};

}  // namespace jaxmg::routines
