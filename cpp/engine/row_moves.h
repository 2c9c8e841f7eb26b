// Interchanges of rows as moves that can be made at once.
//
// LAPACK's getrf interchanges row i with row pivots[i], for one i after another. Interchanges of a chunk of successive
// pivots are planned together: every row that they change is then moved from where it was before the first of them.
#pragma once

#include "engine/portable.h"

namespace jaxmg {

// For pivot i: row `from[0]` moves to row i = `to[0]`, and row `from[1]` to row `to[1]`, unless that is -1: another
// pivot of the chunk moves that row, or it is row i.
struct alignas(16) RowMoves {
  int to[2], from[2];
};

// The row that row `row` of a matrix of `rows` rows is interchanged with: itself, if the pivot is no row from there on
// (a NaN can make a library choose one that does not exist).
JAXMG_PORTABLE constexpr int valid_pivot(int pivot, int row, int rows) {
  return pivot >= row && pivot < rows ? pivot : row;
}

// Interchanges planned together, at most.
constexpr int interchange_chunk = 512;

}  // namespace jaxmg
