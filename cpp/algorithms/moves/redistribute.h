// Redistribution of tile columns from contiguous shards to round-robin order, in place (see layout/redistribution.h).
#pragma once

#include <algorithm>
#include <vector>

#include "core/arena.h"
#include "engine/engine.h"
#include "layout/redistribution.h"

namespace jaxmg {

// The number of staging tiles beyond which more tiles save no round.
inline std::int64_t useful_staging_tiles(const TileColumns& layout) {
  return std::max<std::int64_t>(1, (layout.full_slots() + 1) / 2);
}

// Bytes of scratch with which redistribution of columns of `rows` elements takes the fewest rounds.
template <class T>
std::int64_t redistribution_bytes(const TileColumns& layout, std::int64_t rows) {
  Arena measure;
  measure.take<T>(useful_staging_tiles(layout) * layout.tile() * rows);
  return measure.used();
}

// `a` is this rank's shard, `staging` scratch for at least one tile.
template <class T, class E>
  requires ExchangeOps<E>
void redistribute(E& engine, const TileColumns& layout, MatrixView<T> a, Arena staging, bool inverse) {
  const std::int64_t tile_elements = a.ld * layout.tile();
  const std::int64_t room = staging.left() / Arena::alignment * Arena::alignment /
                            static_cast<std::int64_t>(sizeof(T)) / std::max<std::int64_t>(1, tile_elements);
  const std::int64_t tiles = std::min(room, useful_staging_tiles(layout));
  const auto rounds = plan_redistribution(layout, tiles, inverse);
  if (rounds.empty()) return;
  [[maybe_unused]] const typename E::Range range("redistribute");
  T* const staged = staging.take<T>(tiles * tile_elements);
  const auto view = [&](const TilePlace& place) {
    T* const base = place.staged ? staged : a.data;
    return MatrixView<T>{base + place.slot * tile_elements, a.rows, layout.tile(), a.ld};
  };
  for (const RedistributionRound& round : rounds) {
    std::vector<Block> blocks;
    for (const TileMove& move : round) {
      blocks.push_back(make_block(move.from.rank, move.to.rank, view(move.from), view(move.to)));
    }
    engine.exchange(Lane::panel, blocks);
  }
  engine.join();
}

}  // namespace jaxmg
