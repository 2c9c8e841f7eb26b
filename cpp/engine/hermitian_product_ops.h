// Engine operation that multiplies a vector by a part of a Hermitian matrix, and reads each element once.
//
// An engine need not have it: algorithms then use products of blocks (algorithms/cholesky/hemm.h).
#pragma once

#include <cstdint>

#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "engine/hermitian_product.h"

namespace jaxmg {

// Workspace for `own` columns of a matrix of order n: sums by strips and chunks.
template <class T>
struct HermitianProductWorkspace {
  MatrixView<T> of_rows;     // a column for each chunk
  MatrixView<T> of_columns;  // a column for each strip

  HermitianProductWorkspace(Arena& arena, std::int64_t n, std::int64_t own)
      : of_rows(arena.matrix<T>(n, hermitian_chunks(own))),
        of_columns(arena.matrix<T>(own, hermitian_strips(n, hermitian_strip<sizeof(T)>))) {}
};

template <class E, class T>
concept HermitianProductOps = requires(E& e, Lane lane, std::int64_t first, MatrixView<T> a, MatrixView<T> x,
                                       const HermitianProductWorkspace<T>& workspace) {
  // y = A x with the columns of A from number `first` on and, for the elements below the diagonal, their adjoints as
  // rows. Reads nothing above the diagonal, and the real parts of the diagonal.
  e.hermitian_product(lane, first, a, x, x, workspace);
};

}  // namespace jaxmg
