// Broadcasts of block columns and block rows of a dealt factor L.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/block.h"
#include "core/matrix_view.h"
#include "layout/block_columns.h"
#include "layout/tiled_shard.h"

namespace jaxmg {

// Adds to `blocks` the broadcast of the lower triangle of a diagonal block.
template <class T>
void send_diagonal(const TiledShard<T>& a, const BlockColumn& column, MatrixView<T> diagonal,
                   std::vector<Block>& blocks) {
  const TileColumns& layout = a.layout;
  for (std::int64_t t = column.first_tile; t < column.last_tile; ++t) {
    const std::int64_t at = layout.begin(t) - column.begin;
    blocks.push_back(make_block(layout.owner(t), all_ranks, a.tile(t, layout.begin(t), column.end),
                                diagonal.block(at, at, column.width() - at, layout.width(t))));
  }
}

// Adds to `blocks` the broadcast of the block row of L to the left of the diagonal block.
template <class T>
void send_block_row(const TiledShard<T>& a, const BlockColumn& column, MatrixView<T> block_row,
                    std::vector<Block>& blocks) {
  const TileColumns& layout = a.layout;
  for (std::int64_t t = 0; t < column.first_tile; ++t) {
    blocks.push_back(make_block(layout.owner(t), all_ranks, a.tile(t, column.begin, column.end),
                                block_row.block(0, layout.begin(t), column.width(), layout.width(t))));
  }
}

}  // namespace jaxmg
