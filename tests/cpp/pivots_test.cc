#include "layout/pivots.h"

#include <cstdint>

#include "gtest/gtest.h"

namespace jaxmg {
namespace {

template <class Check>
void for_pivots(Check&& check) {
  for (const int ranks : {1, 2, 3, 4}) {
    for (const std::int64_t n : {0, 1, 7, 24, 25, 61}) {
      for (const std::int64_t tile : {1, 3, 4, 100}) {
        for (const std::int64_t depth : {tile, tile + 1, 2 * tile, 3 * tile + 1, std::int64_t{1000}}) {
          SCOPED_TRACE(::testing::Message()
                       << "n = " << n << " on " << ranks << " ranks, tile " << tile << ", depth " << depth);
          const TileColumns layout(n, (n + ranks - 1) / ranks, tile, ranks);
          check(layout, depth, join_pivots(layout, depth));
          if (::testing::Test::HasFailure()) return;
        }
      }
    }
  }
}

TEST(Pivots, JoinAllTilesInOrder) {
  for_pivots([](const TileColumns& layout, std::int64_t, const std::vector<Pivot>& pivots) {
    std::int64_t next = 0;
    for (const Pivot& pivot : pivots) {
      EXPECT_EQ(pivot.first_tile, next);
      EXPECT_LT(pivot.first_tile, pivot.last_tile);
      EXPECT_EQ(pivot.begin, layout.begin(pivot.first_tile));
      EXPECT_EQ(pivot.end, layout.end(pivot.last_tile - 1));
      EXPECT_EQ(pivot.width(), pivot.end - pivot.begin);
      next = pivot.last_tile;
    }
    EXPECT_EQ(next, layout.count());
  });
}

TEST(Pivots, AreNoWiderThanTheDepth) {
  for_pivots([](const TileColumns&, std::int64_t depth, const std::vector<Pivot>& pivots) {
    for (const Pivot& pivot : pivots) EXPECT_LE(pivot.width(), depth);
  });
}

TEST(Pivots, HoldAsManyTilesAsFit) {
  for_pivots([](const TileColumns& layout, std::int64_t depth, const std::vector<Pivot>& pivots) {
    for (const Pivot& pivot : pivots) {
      if (pivot.last_tile == layout.count()) continue;
      EXPECT_GT(pivot.width() + layout.width(pivot.last_tile), depth);
    }
  });
}

TEST(Pivots, GetShallowerTowardsTheEnd) {
  const std::int64_t n = 65536, depth = 2048;
  const auto pivots = join_pivots(TileColumns(n, n / 4, shallow, 4), depth);
  EXPECT_EQ(pivots.front().width(), depth);
  EXPECT_EQ(pivots.back().width(), shallow);
  for (const Pivot& pivot : pivots) {
    if (pivot.width() <= shallow) continue;
    EXPECT_LE(16 * pivot.width(), n - pivot.begin);
  }
}

TEST(Pivots, HoldATileEvenIfItIsWiderThanTheDepth) {
  const auto pivots = join_pivots(TileColumns(8, 4, 4, 2), 3);
  ASSERT_EQ(pivots.size(), 2u);
  EXPECT_EQ(pivots[0].width(), 4);
}

}  // namespace
}  // namespace jaxmg
