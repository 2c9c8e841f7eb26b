// The diagonal of a matrix in tile columns, on every rank.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/block.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/tile_columns.h"

namespace jaxmg {

// `values` is a column of n elements.
template <class T, class E>
  requires ExchangeOps<E>
void diagonal(E& e, const TileColumns& layout, MatrixView<T> a, MatrixView<T> values) {
  std::vector<Block> pieces;
  for (std::int64_t t = 0; t < layout.count(); ++t) {
    const MatrixView<T> from{a.at(layout.begin(t), layout.local_offset(t)), 1, layout.width(t), a.ld + 1};
    const MatrixView<T> to{values.at(layout.begin(t), 0), 1, layout.width(t), 1};
    pieces.push_back(make_block(layout.owner(t), all_ranks, from, to));
  }
  e.exchange(Lane::panel, pieces);
  e.join();
}

}  // namespace jaxmg
