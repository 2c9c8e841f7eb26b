// Redistribution of columns from one layout to another, out of place, by one all-to-all (see layout/column_moves.h).
#pragma once

#include <cstdint>
#include <vector>

#include "comm/block.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/column_moves.h"

namespace jaxmg {

// `b`, in the layout `to`, receives the columns of `a`, in the layout `from`, from number `first` on.
template <class T, class E>
  requires ExchangeOps<E>
void move_columns(E& engine, const TileColumns& from, MatrixView<T> a, const TileColumns& to, MatrixView<T> b,
                  std::int64_t first = 0) {
  std::vector<Block> blocks;
  for (const ColumnMove& move : plan_column_moves(from, to, first)) {
    blocks.push_back(make_block(move.source, move.target, a.block(0, move.from_column, a.rows, move.columns),
                                b.block(0, move.to_column, b.rows, move.columns)));
  }
  engine.exchange(Lane::panel, blocks);
  engine.join();
}

}  // namespace jaxmg
