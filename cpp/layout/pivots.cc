#include "layout/pivots.h"

namespace jaxmg {

std::vector<Pivot> join_pivots(const TileColumns& layout, std::int64_t depth) {
  std::vector<Pivot> pivots;
  for (std::int64_t t = 0; t < layout.count(); ++t) {
    if (!pivots.empty() && pivots.back().width() + layout.width(t) <= depth) {
      pivots.back().last_tile = t + 1;
      pivots.back().end = layout.end(t);
    } else {
      pivots.push_back({t, t + 1, layout.begin(t), layout.end(t)});
    }
  }
  return pivots;
}

}  // namespace jaxmg
