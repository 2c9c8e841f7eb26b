// In-place redistribution of the full tiles of TileColumns: a permutation of equal slots, run as rounds of moves.
//
// First every tile is sent to its rank. The tiles sent between ranks form a regular bipartite multigraph, which splits
// into perfect matchings (Koenig, 1916): in each, every rank sends one tile and receives one. As many matchings as
// there are staging tiles run at once. Ranks save the tiles they send to staging tiles, and send them from there to
// slots that other ranks have freed in the same way. All links are equally busy.
//
// Then every rank sorts its own tiles. Each cycle of that permutation is cut into segments, and the tile at each cut is
// saved to a staging tile. Every round then fills the free slot of each segment, which frees the slot the tile came
// from.
#pragma once

#include <cstdint>
#include <vector>

#include "layout/tile_columns.h"

namespace jaxmg {

struct TilePlace {
  int rank = 0;
  std::int64_t slot = 0;
  bool staged = false;  // slot counts staging tiles, not tiles of the shard

  bool operator==(const TilePlace&) const = default;
};

struct TileMove {
  TilePlace from, to;
};

// Moves of one round use distinct places, and may run in any order or concurrently.
using RedistributionRound = std::vector<TileMove>;

// Rounds, to be run in order, that take block order to dealt order, or back if `inverse`.
std::vector<RedistributionRound> plan_redistribution(const TileColumns& layout, std::int64_t staging_tiles,
                                                     bool inverse);

}  // namespace jaxmg
