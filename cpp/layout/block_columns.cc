#include "layout/block_columns.h"

#include <algorithm>

namespace jaxmg {

std::vector<BlockColumn> block_columns(const TileColumns& layout, std::int64_t depth) {
  std::vector<BlockColumn> joined;
  std::int64_t room = 0;  // columns that still fit into the last block column
  for (std::int64_t t = 0; t < layout.count(); ++t) {
    if (layout.width(t) <= room) {
      joined.back().last_tile = t + 1;
      joined.back().end = layout.end(t);
    } else {
      joined.push_back({t, t + 1, layout.begin(t), layout.end(t)});
      const std::int64_t left = layout.columns() - layout.begin(t);
      room = depth;
      while (room > std::max(layout.tile(), shallow) && room * 16 > left) room /= 2;
    }
    room -= layout.width(t);
  }
  return joined;
}

}  // namespace jaxmg
