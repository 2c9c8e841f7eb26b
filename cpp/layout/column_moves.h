// Column moves: out-of-place redistribution of columns from one layout to another.
#pragma once

#include <cstdint>
#include <vector>

#include "layout/tile_columns.h"

namespace jaxmg {

// A move of columns that are adjacent in the shards of both ranks.
struct ColumnMove {
  int source, target;
  std::int64_t from_column, to_column;  // of the first column, in the shards
  std::int64_t columns;

  bool operator==(const ColumnMove&) const = default;
};

// Moves columns [first, first + to.columns()) of `from` to `to`. Every column of `to` is in exactly one move; columns
// that stay adjacent are in the same move.
std::vector<ColumnMove> plan_column_moves(const TileColumns& from, const TileColumns& to, std::int64_t first = 0);

// Whether every tile t is in slot t / ranks of rank t mod ranks, as vendors' libraries expect. This holds if the tile
// width divides the shard.
inline bool is_block_cyclic(const TileColumns& layout) { return layout.shard() % layout.tile() == 0; }

// The layout with the same tiles dealt block-cyclically, in shards as large as that requires.
TileColumns block_cyclic(const TileColumns& layout);

}  // namespace jaxmg
