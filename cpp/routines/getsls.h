// getsls: least squares of a tall matrix, whose rows stay where they are and which is kept, for few right-hand sides:
// rows, conjugated, of which this rank has its elements. x and the squared norms of the residuals are replicated.
// `info` is the number, from 1, of the first zero on the diagonal of R, or 0, the same on every rank.
#pragma once

#include <cstdint>

#include "algorithms/qr/getsls.h"
#include "routines/record.h"
#include "routines/tsqr.h"

namespace jaxmg::routines {

struct Getsls : OnTallRows<Getsls> {
  static constexpr auto name = "getsls";
  static constexpr bool data_decides = true;  // whether Gram matrices suffice, and the number of steps
  using Problem = TallSystem;
  struct Squares : OfReals {
    static constexpr auto name = "squares";
    static Shape shape(const Problem& q, const Plan&) { return {q.nrhs}; }
  };
  using Buffers = Signature<In<TallShard>, In<TallRhs>, Out<TallSolution>, Out<Squares>, Out<Info>>;

  // Stage: workspace of the algorithm.
  template <class T>
  struct Solve : GetslsWorkspace<T> {
    Solve(Arena& arena, const Problem& q, const Plan& plan)
        : GetslsWorkspace<T>(arena, q.rows_of_ranks(), q.nrhs, plan.tile, geqrt_leaf) {}
  };
  template <class T>
  using Workspace = Staged<Solve<T>>;

  static double seconds(const ColumnsCost& cost, const Problem& q) { return cost.getsls(q.m, q.n, q.nrhs); }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan&, Workspace<T>& w, MatrixView<T> a, MatrixView<T> right,
                  MatrixView<T> x, MatrixView<Real<T>> squares, MatrixView<std::int32_t> info) {
    begin_status(engine, w);
    const auto r = jaxmg::Getsls<T, E>(engine, q.rows_of_ranks(), a, w).run(right, x, squares.data);
    conclude_tall(engine, r, info, w);
  }
};

}  // namespace jaxmg::routines
