// Engine operations of Cholesky factorisations.
#pragma once

#include <cstdint>

#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/tile_columns.h"

namespace jaxmg {

template <class E, class T>
concept CholeskyOps = requires(E& e, Lane lane, MatrixView<T> a, const std::int32_t* failed, std::int64_t row,
                               std::int32_t* info, const TileColumns& layout, int rank) {
  // A = L L^H in the lower triangle; potrf's own info goes to a word that check_factor reads.
  e.potrf(lane, a, info);
  // Lowers an entry of info to row + the order of the first leading minor of A that is not positive definite. A
  // minor fails if potrf reports it, or if its diagonal element of L is not positive and finite.
  e.check_factor(lane, a, failed, row, info);
  // The same by the diagonal alone, for own tile columns `a` of a whole factor.
  e.check_diagonal(lane, layout, rank, a, info);
};

}  // namespace jaxmg
