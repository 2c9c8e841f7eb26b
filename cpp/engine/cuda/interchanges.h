// Row interchanges by a thread block, see engine/row_moves.h. Only the kernel compiler sees this.
#pragma once

#include "engine/row_moves.h"

namespace jaxmg {

// Plans the interchanges of `count` pivots, at most as many as there are threads, of rows from number `row` on.
__device__ inline void plan_chunk(const int* pivots, int row, int count, int rows, RowMoves* moves) {
  // Places are numbered: those of the chunk's own rows, then one for each pivot, which stands for the row beyond the
  // chunk that it is the first to name.
  __shared__ int other[interchange_chunk], place[interchange_chunk], holds[2 * interchange_chunk];
  const int i = threadIdx.x;
  if (i < count) other[i] = valid_pivot(pivots[i], row + i, rows);
  __syncthreads();
  if (i < count) {
    int named = 0;
    while (other[named] != other[i]) ++named;
    place[i] = other[i] - row < count ? other[i] - row : interchange_chunk + named;
    holds[i] = row + i;
    holds[interchange_chunk + i] = other[i];
  }
  __syncthreads();
  if (i == 0) {
    for (int k = 0; k < count; ++k) {
      const int held = holds[k];
      holds[k] = holds[place[k]];
      holds[place[k]] = held;
    }
  }
  __syncthreads();
  if (i < count) {
    const bool beyond = place[i] == interchange_chunk + i;
    moves[i] = {{row + i, beyond ? other[i] : -1}, {holds[i], holds[interchange_chunk + i]}};
  }
}

// Makes planned interchanges, or undoes them from the last chunk to the first, in up to `batch` columns. A thread moves
// the rows of one pivot; all rows of a chunk are read before any is written.
template <class Number, int batch>
__device__ void move_rows(bool undone, const RowMoves* moves, int count, Number* a, long long ld, int columns) {
  const int chunks = (count + interchange_chunk - 1) / interchange_chunk;
  for (int c = 0; c < chunks; ++c) {
    const int pivot = (undone ? chunks - 1 - c : c) * interchange_chunk + static_cast<int>(threadIdx.x);
    RowMoves move{{-1, -1}, {-1, -1}};
    if (pivot < count) move = moves[pivot];
    Number value[batch][2];
    bool moving[2];
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      moving[k] = move.to[k] >= 0 && move.to[k] != move.from[k];
      const long long from = undone ? move.to[k] : move.from[k];
#pragma unroll
      for (int j = 0; j < batch; ++j) {
        if (moving[k] && j < columns) value[j][k] = a[from + j * ld];
      }
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const long long to = undone ? move.from[k] : move.to[k];
#pragma unroll
      for (int j = 0; j < batch; ++j) {
        if (moving[k] && j < columns) a[to + j * ld] = value[j][k];
      }
    }
    __syncthreads();
  }
}

}  // namespace jaxmg
