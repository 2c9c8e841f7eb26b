// Sums over all ranks, and norms, of matrices with the columns of a tall matrix as rows.
#pragma once

#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "comm/block.h"
#include "core/matrix_view.h"
#include "engine/engine.h"

namespace jaxmg {

// Terms of all ranks, of one shape, side by side in `all`. Each rank's term is in its place there; or in `own`, which
// is another buffer unless there is one rank only.
template <class T>
struct Terms {
  MatrixView<T> all, own = {};

  MatrixView<T> of_rank(int rank, MatrixView<T> sum) const {
    return all.block(0, rank * sum.columns, sum.rows, sum.columns);
  }
  // Adds the blocks of an all-gather to `blocks`.
  void gather(int ranks, MatrixView<T> sum, std::vector<Block>& blocks) const {
    for (int rank = 0; rank < ranks; ++rank) {
      const auto place = of_rank(rank, sum);
      blocks.push_back(make_block(rank, all_ranks, own.empty() ? place : own, place));
    }
  }
};

// Y = -(the sum of gathered terms), in the same order on every rank.
template <class T, class E>
  requires BlasOps<E, T>
void subtract_gathered(E& engine, Lane lane, const Terms<T>& terms, MatrixView<T> y) {
  std::vector<MatrixView<T>> all;
  for (int rank = 0; rank < engine.size(); ++rank) all.push_back(terms.of_rank(rank, y));
  engine.subtract(lane, all, y);
}

// Y = Y - the sum of the terms of all ranks, in the same order on every rank.
template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
void subtract_sum(E& engine, Lane lane, const Terms<T>& terms, MatrixView<T> y) {
  if (engine.size() > 1) {
    std::vector<Block> blocks;
    terms.gather(engine.size(), y, blocks);
    engine.exchange(lane, blocks);
  }
  subtract_gathered(engine, lane, terms, y);
}

// The norms of the columns of Y, and the real parts of the numbers below them.
struct ColumnNorms {
  std::vector<double> norms, below;
};

// For n + 1 rows [Y; numbers], whose columns follow one another in memory.
template <class T, class E>
ColumnNorms column_norms(E& engine, Lane lane, MatrixView<T> y) {
  std::vector<T> all(static_cast<std::size_t>(y.rows * y.columns));
  engine.fetch(lane, y.data, static_cast<std::int64_t>(all.size()), all.data());
  ColumnNorms found;
  for (std::int64_t k = 0; k < y.columns; ++k) {
    const T* const column = all.data() + k * y.rows;
    double sum = 0;
    for (std::int64_t i = 0; i + 1 < y.rows; ++i) sum += std::norm(std::complex<double>(column[i]));
    found.norms.push_back(std::sqrt(sum));
    found.below.push_back(std::complex<double>(column[y.rows - 1]).real());
  }
  return found;
}

}  // namespace jaxmg
