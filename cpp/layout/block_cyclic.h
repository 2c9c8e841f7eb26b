// The two-dimensional block-cyclic distribution of ScaLAPACK, and redistribution between two of them.
//
// Blocks of rows are dealt round-robin to the rows of a grid of processes, blocks of columns to its columns. A matrix
// in contiguous pieces is the special case of at most one block per process. (L. S. Blackford et al., ScaLAPACK Users'
// Guide, SIAM, 1997, chapter 4; the redistribution follows L. Prylli and B. Tourancheau, Fast runtime block cyclic data
// redistribution on multiprocessors, J. Parallel Distrib. Comput. 45, 1997.)
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/arena.h"
#include "core/matrix_view.h"

namespace jaxmg {

// A grid of ranks, numbered in column-major order.
struct ProcessGrid {
  int rows = 1, columns = 1;

  int size() const { return rows * columns; }
  int row(int rank) const { return rank % rows; }
  int column(int rank) const { return rank / rows; }
  int rank(int row, int column) const { return row + column * rows; }

  bool operator==(const ProcessGrid&) const = default;
};

// The grid of all ranks that is closest to a square, with no more rows than columns.
ProcessGrid squarest_grid(int ranks);

// One dimension of the distribution: indices 0 ... n - 1 in blocks, dealt round-robin.
struct CyclicBlocks {
  std::int64_t n, block;
  int processes;

  int owner(std::int64_t i) const { return static_cast<int>(i / block % processes); }
  // Local index of index i on its owner.
  std::int64_t local(std::int64_t i) const { return i / block / processes * block + i % block; }
  // Number of indices of a process (ScaLAPACK's numroc).
  std::int64_t count(int process) const;
  // The largest number of indices of a process: the first process's.
  std::int64_t most() const { return count(0); }
};

struct BlockCyclic {
  CyclicBlocks rows, columns;

  // m x n in blocks of mb x nb.
  BlockCyclic(std::int64_t m, std::int64_t n, std::int64_t mb, std::int64_t nb, ProcessGrid grid);

  // One contiguous piece for each process, all but the last ones of the same size, as JAX shards an array.
  static BlockCyclic in_pieces(std::int64_t m, std::int64_t n, ProcessGrid grid);

  ProcessGrid grid() const { return {rows.processes, columns.processes}; }
  std::int64_t local_rows(int rank) const { return rows.count(grid().row(rank)); }
  std::int64_t local_columns(int rank) const { return columns.count(grid().column(rank)); }
  // Leading dimension of a rank's part.
  std::int64_t ld(int rank) const { return std::max<std::int64_t>(1, local_rows(rank)); }
  // Elements of the largest part of a rank.
  std::int64_t most_elements() const { return std::max<std::int64_t>(1, rows.most()) * columns.most(); }
};

// This rank's part of a matrix, at the address at which every rank has its part.
template <class T>
struct BlockCyclicMatrix {
  BlockCyclic layout;
  T* data = nullptr;

  BlockCyclicMatrix(const BlockCyclic& distribution, T* part) : layout(distribution), data(part) {}
  BlockCyclicMatrix(const BlockCyclic& distribution, Arena& arena)
      : BlockCyclicMatrix(distribution, arena.take<T>(distribution.most_elements())) {}

  MatrixView<T> part(int rank) const {
    return {data, layout.local_rows(rank), layout.local_columns(rank), layout.ld(rank)};
  }
  // Calls visit(i, block) for each diagonal block of a rank, of a square matrix in square blocks; it begins in row i.
  void each_diagonal(int rank, auto&& visit) const {
    for (std::int64_t i = 0; i < layout.rows.n; i += layout.rows.block) {
      if (layout.grid().rank(layout.rows.owner(i), layout.columns.owner(i)) != rank) continue;
      const std::int64_t width = std::min(layout.rows.block, layout.rows.n - i);
      visit(i, part(rank).block(layout.rows.local(i), layout.columns.local(i), width, width));
    }
  }
};

// A move of a rectangle that is contiguous in the parts of both ranks.
struct BlockMove {
  int source, target;
  std::int64_t rows, columns;
  std::int64_t from_row, from_column;  // in the source's part
  std::int64_t to_row, to_column;      // in the target's part
};

// Moves the columns of `from` from number `first` on to `to`, which has as many rows and no more columns than remain.
// Every element is in exactly one move; elements that stay adjacent share a move.
std::vector<BlockMove> plan_moves(const BlockCyclic& from, const BlockCyclic& to, std::int64_t first = 0);

}  // namespace jaxmg
