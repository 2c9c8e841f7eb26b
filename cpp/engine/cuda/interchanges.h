// Row interchanges by a thread block, see engine/row_moves.h. Only the kernel compiler sees this.
#pragma once

#include "engine/row_moves.h"

namespace jaxmg {

// The moves of pivot threadIdx.x among `count`, at most interchange_chunk and as many as there are threads. Pivots are
// of rows from number `row` on.
//
// The number that lands in a row is found by following the interchanges from the last to the first.
__device__ inline RowMoves plan_moves(const int* pivots, int row, int count, int rows) {
  __shared__ int other[interchange_chunk];
  const int i = threadIdx.x, own = row + i;
  if (i < count) other[i] = valid_pivot(pivots[i], own, rows);
  __syncthreads();
  RowMoves moves{{-1, -1}, {-1, -1}};
  if (i < count) {
    int inside = own, beyond = other[i];
    bool first = beyond >= row + count;  // of all pivots that name this row beyond the chunk
    moves.to[0] = own;
    moves.to[1] = beyond;
    for (int k = count - 1; k >= 0; --k) {
      const int pivot = other[k];
      inside = inside == row + k ? pivot : inside == pivot ? row + k : inside;
      beyond = beyond == row + k ? pivot : beyond == pivot ? row + k : beyond;
      first = first && (k >= i || pivot != moves.to[1]);
    }
    if (!first) moves.to[1] = -1;
    moves.from[0] = inside;
    moves.from[1] = beyond;
  }
  return moves;
}

// Makes the moves of a chunk, or undoes them, in up to `batch` columns, of which at(i, j) is a number. A thread moves
// the rows of one pivot; all rows are read before any is written.
template <class Number, int batch, class At>
__device__ void move_rows(bool undone, const RowMoves& move, int columns, const At& at) {
  Number value[batch][2];
  bool moving[2];
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    moving[k] = move.to[k] >= 0 && move.to[k] != move.from[k];
    const int from = undone ? move.to[k] : move.from[k];
#pragma unroll
    for (int j = 0; j < batch; ++j) {
      if (moving[k] && j < columns) value[j][k] = at(from, j);
    }
  }
  __syncthreads();
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    const int to = undone ? move.from[k] : move.to[k];
#pragma unroll
    for (int j = 0; j < batch; ++j) {
      if (moving[k] && j < columns) at(to, j) = value[j][k];
    }
  }
  __syncthreads();
}

// The same for planned interchanges, chunk by chunk; they are undone from the last chunk to the first.
template <class Number, int batch, class At>
__device__ void move_rows(bool undone, const RowMoves* moves, int count, int columns, const At& at) {
  const int chunks = (count + interchange_chunk - 1) / interchange_chunk;
  for (int c = 0; c < chunks; ++c) {
    const int pivot = (undone ? chunks - 1 - c : c) * interchange_chunk + static_cast<int>(threadIdx.x);
    const RowMoves none{{-1, -1}, {-1, -1}};
    move_rows<Number, batch>(undone, pivot < count ? moves[pivot] : none, columns, at);
  }
}

}  // namespace jaxmg
