#include "layout/column_moves.h"

#include <algorithm>

namespace jaxmg {

std::vector<ColumnMove> plan_column_moves(const TileColumns& from, const TileColumns& to, std::int64_t first) {
  std::vector<ColumnMove> moves;
  std::int64_t s = 0;  // tile of `from`
  for (std::int64_t t = 0; t < to.count(); ++t) {
    for (std::int64_t column = to.begin(t); column < to.end(t);) {
      while (from.end(s) <= first + column) ++s;
      const std::int64_t columns = std::min(to.end(t) - column, from.end(s) - first - column);
      const ColumnMove move{from.owner(s), to.owner(t), from.local_offset(s) + first + column - from.begin(s),
                            to.local_offset(t) + column - to.begin(t), columns};
      column += columns;
      if (!moves.empty()) {
        ColumnMove& last = moves.back();
        if (last.source == move.source && last.target == move.target &&
            last.from_column + last.columns == move.from_column && last.to_column + last.columns == move.to_column) {
          last.columns += columns;
          continue;
        }
      }
      moves.push_back(move);
    }
  }
  return moves;
}

TileColumns block_cyclic(const TileColumns& layout) {
  const std::int64_t tile = layout.tile(), ranks = layout.ranks();
  const std::int64_t tiles = (layout.columns() + tile - 1) / tile;
  return {layout.rows(), layout.columns(), (tiles + ranks - 1) / ranks * tile, tile, layout.ranks()};
}

}  // namespace jaxmg
