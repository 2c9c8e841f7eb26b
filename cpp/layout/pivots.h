// Neighbouring tile columns joined to the pivot blocks of a factorisation.
#pragma once

#include <cstdint>
#include <vector>

#include "layout/tile_columns.h"

namespace jaxmg {

struct Pivot {
  std::int64_t first_tile, last_tile;  // tiles [first_tile, last_tile)
  std::int64_t begin, end;             // columns [begin, end)

  std::int64_t width() const { return end - begin; }
};

// Joins as many tiles as fit into `depth` columns (at least one) to each pivot.
std::vector<Pivot> join_pivots(const TileColumns& layout, std::int64_t depth);

}  // namespace jaxmg
