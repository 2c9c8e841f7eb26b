// Blocks of a dealt factor L on their way to all ranks.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/block.h"
#include "core/matrix_view.h"
#include "layout/block_columns.h"
#include "layout/tile_columns.h"

namespace jaxmg {

// The lower triangle of a pivot's diagonal block; `a` is this rank's shard.
template <class T>
void send_diagonal(const TileColumns& layout, const BlockColumn& block, MatrixView<T> a, MatrixView<T> diagonal,
                   std::vector<Block>& blocks) {
  for (std::int64_t t = block.first_tile; t < block.last_tile; ++t) {
    const std::int64_t at = layout.begin(t) - block.begin, rows = block.width() - at, width = layout.width(t);
    blocks.push_back(make_block(layout.owner(t), all_ranks,
                                a.block(layout.begin(t), layout.local_offset(t), rows, width),
                                diagonal.block(at, at, rows, width)));
  }
}

// The pivot's rows of all columns before it.
template <class T>
void send_block_row(const TileColumns& layout, const BlockColumn& block, MatrixView<T> a, MatrixView<T> block_row,
                    std::vector<Block>& blocks) {
  for (std::int64_t t = 0; t < block.first_tile; ++t) {
    blocks.push_back(make_block(layout.owner(t), all_ranks,
                                a.block(block.begin, layout.local_offset(t), block.width(), layout.width(t)),
                                block_row.block(0, layout.begin(t), block.width(), layout.width(t))));
  }
}

}  // namespace jaxmg
