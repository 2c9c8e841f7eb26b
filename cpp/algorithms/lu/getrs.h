// Solves A X = B, A^T X = B or A^H X = B with the LU factors P M = L U of M = A^T in tile columns (see Getrf).
//
//   A X = B       U^T Y = B, L^T Z = Y, X = P^T Z
//   A^T X = B     L Z = P B, U X = Z
//   A^H X = B     the same for the conjugates of X and B
//
// The sweeps are in trsm_few.h and trsm_many.h, selected by the layout of B. Interchanges of rows of B are local: each
// rank has all rows of its columns.
#pragma once

#include <cstdint>

#include "algorithms/triangular/triangle.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "engine/lu_ops.h"
#include "layout/tile_columns.h"

namespace jaxmg {

// SciPy's `trans`.
enum class Trans : std::int64_t { none = 0, transpose = 1, conj_transpose = 2 };

// Overwrites X, which holds B on entry. `sweeps` solves with the triangles; `moves` is scratch, one entry per pivot.
template <class T, class E, class Sweeps>
  requires LuOps<E, T>
void getrs(E& e, std::int64_t n, Trans trans, const std::int32_t* pivots, RowMoves* moves, Sweeps&& sweeps,
           MatrixView<T> x) {
  constexpr Lane lane = Lane::panel;
  e.plan_interchanges(lane, pivots, 0, n, n, moves);
  e.join();
  if (trans == Trans::none) {
    sweeps.solve({Uplo::upper, Op::transpose, Diag::non_unit});
    sweeps.solve({Uplo::lower, Op::transpose, Diag::unit});
    e.interchange(lane, Interchanges::undone, moves, n, 0, x);
  } else {
    if (trans == Trans::conj_transpose) e.conjugate(lane, x);
    e.interchange(lane, Interchanges::made, moves, n, 0, x);
    e.join();
    sweeps.solve({Uplo::lower, Op::none, Diag::unit});
    sweeps.solve({Uplo::upper, Op::none, Diag::non_unit});
    sweeps.share();
    if (trans == Trans::conj_transpose) e.conjugate(lane, x);
  }
  e.join();
}

}  // namespace jaxmg
