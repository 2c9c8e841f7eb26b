// How columns get from one deal to another, out of place.
#pragma once

#include <cstdint>
#include <vector>

#include "layout/tile_columns.h"

namespace jaxmg {

// Columns that are neighbours in the shards of both ranks.
struct ColumnMove {
  int source, target;
  std::int64_t from_column, to_column;  // the first one's place in the shards
  std::int64_t columns;

  bool operator==(const ColumnMove&) const = default;
};

// Brings the columns of `from` from number `first` on to `to`, which has no more columns than there are. Every column
// of `to` is in one move; neighbours that stay neighbours are in the same one.
std::vector<ColumnMove> plan_column_moves(const TileColumns& from, const TileColumns& to, std::int64_t first = 0);

// Whether tile t is at place t / ranks of rank t mod ranks, for all tiles: what vendors' libraries take for dealt. It
// is where the tile divides the shard.
inline bool is_block_cyclic(const TileColumns& layout) { return layout.shard() % layout.tile() == 0; }

// The same tiles, dealt so: in shards of as many columns as that takes.
TileColumns block_cyclic(const TileColumns& layout);

}  // namespace jaxmg
