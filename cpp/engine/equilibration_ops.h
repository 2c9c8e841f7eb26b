// Engine operation that scales rows and columns of a matrix, copies it to single precision, and sums magnitudes, in one
// pass.
#pragma once

#include <cstdint>

#include "core/arena.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"
#include "engine/hermitian_product.h"

namespace jaxmg {

// Workspace for `own` columns of a matrix of order n: sums by the strips and chunks of products with Hermitian
// matrices.
template <class T>
struct EquilibrationWorkspace {
  MatrixView<Real<T>> of_rows;     // a column for each chunk
  MatrixView<Real<T>> of_columns;  // a column for each strip

  EquilibrationWorkspace(Arena& arena, std::int64_t n, std::int64_t own)
      : of_rows(arena.matrix<Real<T>>(n, hermitian_chunks(own))),
        of_columns(arena.matrix<Real<T>>(own, hermitian_strips(n, hermitian_strip<sizeof(Real<T>)>))) {}
};

// Columns of a matrix M from number `first` on, and how they are scaled.
template <class T>
struct Equilibrated {
  std::int64_t first;
  bool lower;                         // only the lower triangle is read, and zeros are stored above it
  MatrixView<T> m;                    // n rows
  MatrixView<Real<T>> rows, columns;  // factors of all rows and columns
  MatrixView<Real<T>> shift;          // the diagonal is multiplied by 1 + shift
};

template <class E, class T>
concept EquilibrationOps =
    LaneOps<E> && requires(E& e, Lane lane, const Equilibrated<T>& a, MatrixView<Single<T>> to,
                           MatrixView<Real<T>> sums, const EquilibrationWorkspace<T>& workspace) {
      // The scaled columns in single precision, and sums of their magnitudes before that rounding: of each row, without
      // the diagonal if `lower`, and of each column.
      e.equilibrate(lane, a, to, sums /*of rows*/, sums /*of columns*/, workspace);
    };

}  // namespace jaxmg
