// seminormal: the solution of r + A x = w, A^H r = v by corrected seminormal equations, for a tall matrix whose rows
// are divided among the ranks and the R of tall_gels. This rank has its elements of w and r, and all of v and x.
#pragma once

#include <cstdint>

#include "algorithms/qr/seminormal.h"
#include "routines/record.h"
#include "routines/tsqr.h"

namespace jaxmg::routines {

struct Seminormal : OnTallRows<Seminormal> {
  static constexpr auto name = "seminormal";
  static constexpr bool data_decides = true;  // the number of steps
  using Problem = TallSystem;
  struct V : TallSolution {
    static constexpr auto name = "v";
  };
  struct Rest : TallRhs {
    static constexpr auto name = "rest";
  };
  using Buffers = Signature<In<TallShard>, In<ReplicatedR>, In<TallRhs>, In<V>, Out<Rest>, Out<TallSolution>>;

  // Stage: workspace of the algorithm.
  template <class T>
  struct Solve : SeminormalWorkspace<T> {
    Solve(Arena& arena, const Problem& q, const Plan&) : SeminormalWorkspace<T>(arena, q.rows_of_ranks(), q.nrhs) {}
  };
  template <class T>
  using Workspace = Staged<Solve<T>>;

  static double seconds(const ColumnsCost& cost, const Problem& q) { return cost.seminormal(q.m, q.n, q.nrhs); }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan&, Workspace<T>& w, MatrixView<T> a, MatrixView<T> r,
                  MatrixView<T> right, MatrixView<T> v, MatrixView<T> rest, MatrixView<T> x) {
    jaxmg::Seminormal<T, E>(engine, q.rows_of_ranks(), a, r, w).solve(right, v, x, rest);
  }
};

}  // namespace jaxmg::routines
