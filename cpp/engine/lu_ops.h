// Engine operations of LU factorisations with partial pivoting.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>

#include "core/matrix_view.h"
#include "core/row_chunks.h"
#include "engine/engine.h"
#include "engine/row_moves.h"

namespace jaxmg {

// Direction of row interchanges: as in the factorisation (P A), or undone (P^T A).
enum class Interchanges { made, undone };

// Row indices are global and start at 0: `row` is the index of the first row of a view, or of the first of `count`
// pivots. Pivot i is the index of the row interchanged with row i.
template <class E, class T>
concept LuOps = requires(E& e, const E& c, Lane lane, MatrixView<T> a, MatrixView<T> b, RowChunks<T> chunks,
                         std::int64_t row, std::int64_t count, std::int32_t* pivots, RowMoves* moves,
                         std::byte* scratch, std::int32_t* places, std::int32_t* info, Interchanges direction) {
  // P A = L U in place, for a view with at least as many rows as columns; writes the pivots of its columns. `scratch`
  // holds getrf_scratch_bytes() of the view.
  e.getrf(lane, a, row, pivots, scratch);
  // Width of the panels that getrf factors fastest in a matrix with this many rows.
  { c.template getrf_columns<T>(std::int64_t{} /*rows*/) } -> std::same_as<std::int64_t>;
  // Plans `count` interchanges of a matrix with `rows` rows, in chunks of interchange_chunk.
  e.plan_interchanges(lane, pivots, row, count, std::int64_t{} /*rows*/, moves);
  // Applies planned interchanges to rows of A, or undoes them from the last chunk to the first.
  e.interchange(lane, direction, moves, count, row, a);
  // Interchanges rows of A, whose first has number `row`, in all columns but [first, first + count), by the pivots of
  // these columns. `pivots` begins with that of column 0. At most interchange_chunk at once.
  e.interchange_beside(lane, pivots, row, std::int64_t{} /*first*/, count, a);
  // Makes planned interchanges in the first `columns` columns of a matrix whose first row has number `row`.
  e.interchange_chunks(lane, moves, count, row, chunks, std::int64_t{} /*columns*/);
  // number: places[i] = i for i < count. place: composes `places` with planned interchanges, from the last chunk to the
  // first: places[from] = places[to].
  e.number(lane, count, places);
  e.place(lane, moves, count, places);
  // origins[places[i]] = i for row <= i < row + count, whose places are the same numbers in another order.
  e.invert(lane, places, row, count, places /*origins*/);
  // Row i of B = row origins[row + i] of A; A and B begin with row `row`.
  e.gather_rows(lane, a, places /*origins*/, row, b);
  // Column j of B = column places[j] of A.
  e.gather_columns(lane, a, places, b);
  // info = min(info, row + 1 + i), where i is the index of the first zero on the diagonal of A.
  e.check_pivots(lane, a, row, info);
  // A = conj(A).
  e.conjugate(lane, a);
};

}  // namespace jaxmg
