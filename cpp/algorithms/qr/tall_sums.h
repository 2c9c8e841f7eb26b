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

// Y = Y - the sum of the terms of all ranks, in the same order on every rank. `terms` has room for all of them side by
// side. Each rank's term is in its place there; or in `own`, which is another buffer unless there is one rank only.
template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
void subtract_sum(E& engine, Lane lane, MatrixView<T> terms, MatrixView<T> y, MatrixView<T> own = {}) {
  std::vector<MatrixView<T>> all;
  std::vector<Block> gather;
  for (int rank = 0; rank < engine.size(); ++rank) {
    all.push_back(terms.block(0, rank * y.columns, y.rows, y.columns));
    gather.push_back(make_block(rank, all_ranks, own.empty() ? all.back() : own, all.back()));
  }
  if (engine.size() > 1) engine.exchange(lane, gather);
  engine.subtract(lane, all, y);
}

// The norms of the columns of Y, whose columns follow one another in memory.
template <class T, class E>
std::vector<double> column_norms(E& engine, Lane lane, MatrixView<T> y) {
  std::vector<T> all(static_cast<std::size_t>(y.rows * y.columns));
  engine.fetch(lane, y.data, static_cast<std::int64_t>(all.size()), all.data());
  std::vector<double> norms;
  for (std::int64_t k = 0; k < y.columns; ++k) {
    double sum = 0;
    for (std::int64_t i = 0; i < y.rows; ++i) {
      sum += std::norm(std::complex<double>(all[static_cast<std::size_t>(i + k * y.rows)]));
    }
    norms.push_back(std::sqrt(sum));
  }
  return norms;
}

}  // namespace jaxmg
