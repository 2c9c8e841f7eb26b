// Shapes for tests of factorisations and solves.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "solves.h"

namespace jaxmg::testing {

// Orders below, at and above the numbers of ranks and the widths of tiles; tiles from single columns to more than a
// shard; block columns of one, several or all tiles; one to three buffer slots.
template <class Ranks>
std::vector<Shape> shapes() {
  std::vector<Shape> all;
  std::int64_t turn = 0;
  for (const int ranks : {1, 2, 3, 4, 8}) {
    if (!Ranks::available(ranks)) continue;
    for (const std::int64_t n : {1, 2, 3, 5, 17, 64, 65, 130}) {
      const std::int64_t shard = shard_of(n, ranks);
      for (const std::int64_t tile : {n > 17 ? std::int64_t{8} : std::int64_t{1}, turn % 4 < 2 ? shard : shard + 5}) {
        const std::int64_t depth = tile * (1 + turn % 3) + turn % 2;
        all.push_back({n, ranks, tile, depth, 1 + turn % 3});
        ++turn;
      }
    }
    all.push_back({61, ranks, 5, 61, 2});  // one block column
    all.push_back({96, ranks, 3, 7, 3});   // many block columns that tiles do not fill
  }
  return all;
}

// A few of them, for tests that take longer or depend less on the shape.
template <class Ranks>
std::vector<Shape> some_shapes() {
  std::vector<Shape> some;
  for (const int ranks : {1, 2, 3, 4, 8}) {
    if (!Ranks::available(ranks)) continue;
    some.push_back({41, ranks, 4, 4, 2});
    some.push_back({48, ranks, 3, 9, 3});
    some.push_back({23, ranks, 64, 64, 1});
  }
  return some;
}

}  // namespace jaxmg::testing
