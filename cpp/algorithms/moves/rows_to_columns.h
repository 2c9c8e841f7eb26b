// Redistribution of a matrix from row blocks to column blocks by one all-to-all. Real eigenvectors are widened to
// scalar type T.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "comm/block.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"

namespace jaxmg {

// On rank r, `q` (shard x n) has rows [r shard, (r + 1) shard) of the matrix of order n, cut at n. Of the `count`
// columns from number `first` on, `z` (n x share) receives numbers r share and following. `spare` is scratch, n x share
// reals, unused if T is real.
template <class T, class E>
  requires ExchangeOps<E> && WideningOps<E, T>
void rows_to_columns(E& engine, MatrixView<Real<T>> q, std::int64_t first, std::int64_t count, MatrixView<T> z,
                     Real<T>* spare) {
  const std::int64_t n = q.columns, shard = q.rows, share = z.columns;
  MatrixView<Real<T>> columns;
  if constexpr (is_complex<T>) {
    columns = {spare, n, share, n};
  } else {
    columns = z;
  }
  const auto row = [&](int r) { return std::min(n, r * shard); };
  const auto column = [&](int r) { return std::min(count, r * share); };
  std::vector<Block> blocks;
  for (int from = 0; from < engine.size(); ++from) {
    for (int to = 0; to < engine.size(); ++to) {
      const std::int64_t rows = row(from + 1) - row(from), own = column(to + 1) - column(to);
      if (rows == 0 || own == 0) continue;
      blocks.push_back(
          make_block(from, to, q.block(0, first + column(to), rows, own), columns.block(row(from), 0, rows, own)));
    }
  }
  engine.exchange(Lane::panel, blocks);
  if constexpr (is_complex<T>) {
    const std::int64_t own = column(engine.rank() + 1) - column(engine.rank());
    engine.widen(Lane::panel, columns.block(0, 0, n, own), z.block(0, 0, n, own));
  }
  engine.join();
}

}  // namespace jaxmg
