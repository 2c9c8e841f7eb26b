// An all-gather of one number from each rank.
#pragma once

#include <vector>

#include "comm/block.h"
#include "core/matrix_view.h"
#include "engine/engine.h"

namespace jaxmg {

// Broadcasts entries[r] from every rank r.
template <class Number, class E>
  requires ExchangeOps<E>
void share_entries(E& engine, Lane lane, Number* entries) {
  if (engine.size() == 1) return;
  std::vector<Block> blocks;
  for (int r = 0; r < engine.size(); ++r) {
    const MatrixView<Number> entry{entries + r, 1, 1, 1};
    blocks.push_back(make_block(r, all_ranks, entry, entry));
  }
  engine.exchange(lane, blocks);
}

}  // namespace jaxmg
