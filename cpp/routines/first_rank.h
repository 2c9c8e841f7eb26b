// Moves between the shards of all ranks and a matrix on rank 0, for calls that one rank solves for all.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "comm/block.h"
#include "core/matrix_view.h"
#include "engine/engine.h"

namespace jaxmg::routines {

// Gathers on rank 0 the n columns of `all`, of which rank r has those from number r shard on.
template <class T, class E>
void gather_columns_on_first(E& engine, Lane lane, MatrixView<T> a, MatrixView<T> all) {
  std::vector<Block> blocks;
  for (std::int64_t r = 0; r * a.columns < all.rows; ++r) {
    const std::int64_t own = std::min(a.columns, all.rows - r * a.columns);
    blocks.push_back(
        make_block(static_cast<int>(r), 0, a.block(0, 0, a.rows, own), all.block(0, r * a.columns, a.rows, own)));
  }
  engine.exchange(lane, blocks);
  engine.join();
}

// Adds to `blocks` the scatter of all columns on rank 0, padding included.
template <class T, class E>
void scatter_columns_of_first(E& engine, MatrixView<T> all, MatrixView<T> a, std::vector<Block>& blocks) {
  for (int r = 0; a.columns > 0 && r < engine.size(); ++r) {
    blocks.push_back(make_block(0, r, all.block(0, r * a.columns, a.rows, a.columns), a));
  }
}

}  // namespace jaxmg::routines
