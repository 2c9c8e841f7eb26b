// Transposition of the shards, columns of A^T, to A, for solvers of A itself.
#pragma once

#include "algorithms/moves/adjoint_in_place.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "layout/block_cyclic.h"
#include "planner/problem.h"

namespace jaxmg {

// Stage: the adjoint of a shard.
template <class T>
struct AdjointOfShard {
  MatrixView<T> adjoint;

  AdjointOfShard(Arena& arena, const SquareProblem& q, const auto&) : adjoint(arena.matrix<T>(q.shard(), q.n)) {}
};

// conj(A) in contiguous rows on each rank, in place of columns of A^T. `scratch` holds as many elements.
template <class T, class E>
BlockCyclicMatrix<T> conjugated_rows(E& engine, const SquareProblem& q, MatrixView<T> a, T* scratch) {
  const BlockCyclicMatrix<T> rows(BlockCyclic::in_pieces(q.n, q.n, {engine.size(), 1}), a.data);
  MatrixView<T> adjoint = rows.part(engine.rank());
  const MatrixView<T> own = a.block(0, 0, q.n, adjoint.rows);
  adjoint.data = scratch;
  if (!adjoint.empty()) adjoint_in_place(engine, Lane::panel, own, adjoint);
  return rows;
}

}  // namespace jaxmg
