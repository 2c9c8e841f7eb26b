// Engine operations of real symmetric tridiagonal eigenproblems (divide_and_conquer.h, bisection.h); see secular.h for
// levels and chains.
#pragma once

#include <concepts>
#include <cstdint>

#include "core/matrix_view.h"
#include "engine/engine.h"
#include "engine/secular.h"

namespace jaxmg {

// Q is this rank's rows, from `row` on, of a matrix of order n.
template <class E, class R>
concept TridiagonalOps =
    requires(E& e, Lane lane, const R* cx, R* x, std::int64_t count, std::int64_t row, Halving halving,
             const MergeLevel<R>& level, const ColumnChains<R>& chains, MatrixView<R> q, std::int32_t* info) {
      // Largest order of a leaf on this engine; at most largest_leaf.
      { E::leaf_rows } -> std::convertible_to<std::int64_t>;
      // The eigenvalues of every part that has rows here, in place of its diagonal in the first array, and the rows of
      // its eigenvectors. Here and below, info is lowered to the number of an eigenvalue that was not found.
      e.solve_leaves(lane, halving, x /*d*/, cx /*e*/, row, q, info);
      // z_i = Q_ri, where r is the cut row of i, for `count` numbers from the first on.
      e.take_cut_rows(lane, halving, row, q, std::int64_t{} /*first*/, count, x /*z*/);
      // The second matrix receives the columns of the first, rotated, in the rows of their part.
      e.rotate_columns(lane, halving, chains, row, q, q);
      // The roots and eigenvalues, then zhat, of `count` numbers from the first on.
      e.solve_secular(lane, level, std::int64_t{} /*first*/, count, info);
      e.adapt_weights(lane, level, std::int64_t{} /*first*/, count);
      // In the rows of their part, the second matrix receives the deflated columns of the first, and zeros elsewhere.
      e.keep_deflated(lane, level, row, q, q);
      // The eigenvectors of diag(d) + rho z z^T as columns of S, for numbers from the first on, with rows in the
      // level's order. Other elements of S are left unchanged.
      e.secular_vectors(lane, level, std::int64_t{} /*first*/, q);
      // w = eigenvalues from number `row` on (in q, one row), all in [low, high], from the diagonal and the squares of
      // the off-diagonal.
      e.bisect(lane, std::int64_t{} /*n*/, cx /*d*/, cx /*squares*/, R{} /*low*/, R{} /*high*/, row, q);
    };

}  // namespace jaxmg
