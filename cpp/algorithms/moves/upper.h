// R of a QR factorisation in tile columns, out of place: the upper trapezoid, in contiguous blocks of columns.
#pragma once

#include <algorithm>
#include <cstdint>

#include "algorithms/moves/move_columns.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/tile_columns.h"

namespace jaxmg {

// `r` has min(rows, columns) rows of this rank's block of columns, `a` the columns of `layout`. Columns beyond the
// matrix become zero.
template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
void upper(E& e, const TileColumns& layout, MatrixView<T> a, MatrixView<T> r) {
  const std::int64_t k = r.rows, shard = layout.shard();
  const TileColumns blocks{k, layout.columns(), shard, std::max<std::int64_t>(1, shard), layout.ranks()};
  e.zero(Lane::panel, r);
  move_columns(e, layout, a.block(0, 0, k, a.columns), blocks, r);
  for (const std::int64_t t : blocks.tiles_of(e.rank())) {
    const std::int64_t begin = std::min(k, blocks.begin(t)), width = std::min(k - begin, blocks.width(t));
    e.zero_below(Lane::panel, r.block(begin, 0, width, width));
    e.zero(Lane::panel, r.block(begin + width, 0, k - begin - width, width));
  }
  e.join();
}

}  // namespace jaxmg
