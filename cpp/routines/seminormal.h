// seminormal: the solution of r + A x = w, A^H r = v by corrected seminormal equations, for a tall matrix whose rows
// are divided among the ranks and the R of tall_gels. Right-hand sides are rows, conjugated: this rank's elements of w
// and r, and all of v and x.
#pragma once

#include <cstdint>

#include "algorithms/qr/seminormal.h"
#include "routines/record.h"
#include "routines/tsqr.h"

namespace jaxmg::routines {

struct Seminormal : OnTallRows<Seminormal> {
  static constexpr auto name = "seminormal";
  static constexpr bool data_decides = true;  // the number of steps
  using Problem = WithRightHandSides<TallProblem>;
  struct W : OfScalars {
    static constexpr auto name = "w";
    static Shape shape(const Problem& q, const Plan&) { return {q.nrhs, q.shard()}; }
  };
  struct V : OfScalars {
    static constexpr auto name = "v";
    static Shape shape(const Problem& q, const Plan&) { return {q.nrhs, q.n}; }
  };
  struct Rest : W {
    static constexpr auto name = "rest";
  };
  struct X : V {
    static constexpr auto name = "x";
  };
  using Buffers = Signature<In<TallShard>, In<ReplicatedR>, In<W>, In<V>, Out<Rest>, Out<X>>;

  // Stage: workspace of the algorithm.
  template <class T>
  struct Solve : SeminormalWorkspace<T> {
    Solve(Arena& arena, const Problem& q, const Plan&) : SeminormalWorkspace<T>(arena, q.rows_of_ranks(), q.nrhs) {}
  };
  template <class T>
  using Workspace = Staged<Solve<T>>;

  static std::int64_t rhs_bytes(const Problem& q) { return (q.shard() + q.n) * q.nrhs * size_of(q.type); }
  static double seconds(const ColumnsCost& cost, const Problem& q) { return cost.seminormal(q.m, q.n, q.nrhs); }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan&, Workspace<T>& w, MatrixView<T> a, MatrixView<T> r,
                  MatrixView<T> right, MatrixView<T> v, MatrixView<T> rest, MatrixView<T> x) {
    jaxmg::Seminormal<T, E>(engine, q.rows_of_ranks(), a, r, w).solve(right, v, x, rest);
  }
};

}  // namespace jaxmg::routines
