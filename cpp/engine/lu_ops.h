// Engine operations of LU factorisations with partial pivoting.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>

#include "core/matrix_view.h"
#include "engine/engine.h"
#include "engine/row_moves.h"

namespace jaxmg {

// Direction of interchanges: as the factorisation made them (P A), or undone (P^T A).
enum class Interchanges { made, undone };

// Rows are numbered in the whole matrix: `row` is the number of the first row of a view, or of the first of `count`
// pivots. Pivot i is the number, from 0, of the row that was interchanged with row i.
template <class E, class T>
concept LuOps = requires(E& e, const E& c, Lane lane, MatrixView<T> a, MatrixView<T> b, std::int64_t row,
                         std::int64_t count, std::int32_t* pivots, RowMoves* moves, std::byte* scratch,
                         std::int32_t* places, std::int32_t* info, Interchanges direction) {
  // P A = L U of a view with at least as many rows as columns, in place, with the pivots of its columns. `scratch`
  // holds getrf_scratch_bytes() of the view.
  e.getrf(lane, a, row, pivots, scratch);
  // Columns of a panel of so many rows that getrf had better factor at once; wider panels in pieces.
  { c.template getrf_columns<T>(std::int64_t{} /*rows*/) } -> std::same_as<std::int64_t>;
  // Plans interchanges of a matrix of so many rows in chunks of interchange_chunk from the first one.
  e.plan_interchanges(lane, pivots, row, count, std::int64_t{} /*rows*/, moves);
  // Makes planned interchanges of rows of A, or undoes them from the last chunk to the first.
  e.interchange(lane, direction, moves, count, row, a);
  // places[i] = i for i < count;  then, where rows are at `places` after later interchanges, the places before them:
  // places[from] = places[to], from the last chunk to the first.
  e.number(lane, count, places);
  e.place(lane, moves, count, places);
  // B's row i is A's row of number places[row + i].
  e.scatter_rows(lane, b, places, row, a);
  // B's column j is A's column of number places[j].
  e.gather_columns(lane, a, places, b);
  // Lowers an entry of info to row + 1 + the index of the first zero on the diagonal of A.
  e.check_pivots(lane, a, row, info);
  // A = conj(A).
  e.conjugate(lane, a);
};

}  // namespace jaxmg
