// Row interchanges as independent moves.
//
// LAPACK's getrf interchanges row i with row pivots[i], sequentially for i = 0, 1, ... The interchanges of a chunk of
// successive pivots are planned together. Each changed row is then moved once, from its position before the chunk.
#pragma once

#include "engine/portable.h"

namespace jaxmg {

// Moves of pivot i: row `from[0]` to row i = `to[0]`, and row `from[1]` to row `to[1]`. The second move is absent if
// `to[1]` is -1: that row is moved for another pivot of the chunk, or is row i.
struct alignas(16) RowMoves {
  int to[2], from[2];
};

// Pivot of row `row` in a matrix with `rows` rows: `pivot`, or `row` if `pivot` is out of range. (With NaN, a library
// may select a row that does not exist.)
JAXMG_PORTABLE constexpr int valid_pivot(int pivot, int row, int rows) {
  return pivot >= row && pivot < rows ? pivot : row;
}

// Maximum number of interchanges planned together.
constexpr int interchange_chunk = 512;

}  // namespace jaxmg
