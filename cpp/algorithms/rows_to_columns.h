// From a matrix whose rows are dealt to the ranks in blocks to the same matrix dealt in blocks of columns, with one
// exchange of all with all; real eigenvectors become those of the scalar type that the rest works on.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "comm/block.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/eigen_engine.h"

namespace jaxmg {

// `q` (shard x n) has rows [r shard, (r + 1) shard) of the matrix of order n on rank r, as far as there are such; `z`
// (n x shard) gets its columns with these numbers. `spare` are n shard real numbers that are free; if T is real it
// is not used.
template <class T, class E>
  requires Engine<E, Real<T>> && WideningEngine<E, T>
void rows_to_columns(E& engine, MatrixView<Real<T>> q, MatrixView<T> z, Real<T>* spare) {
  const std::int64_t n = q.columns, shard = q.rows;
  MatrixView<Real<T>> columns;
  if constexpr (is_complex<T>) {
    columns = {spare, n, shard, n};
  } else {
    columns = z;
  }
  const auto begin = [&](int r) { return std::min(n, r * shard); };
  std::vector<Block> blocks;
  for (int from = 0; from < engine.size(); ++from) {
    for (int to = 0; to < engine.size(); ++to) {
      const std::int64_t rows = begin(from + 1) - begin(from), count = begin(to + 1) - begin(to);
      if (rows == 0 || count == 0) continue;
      blocks.push_back(
          make_block(from, to, q.block(0, begin(to), rows, count), columns.block(begin(from), 0, rows, count)));
    }
  }
  engine.exchange(Lane::panel, blocks);
  if constexpr (is_complex<T>) {
    const std::int64_t own = begin(engine.rank() + 1) - begin(engine.rank());
    engine.widen(Lane::panel, columns.block(0, 0, n, own), z.block(0, 0, n, own));
  }
  engine.join();
}

}  // namespace jaxmg
