#include "layout/block_columns.h"

#include <cstdint>

#include "gtest/gtest.h"

namespace jaxmg {
namespace {

template <class Check>
void for_block_columns(Check&& check) {
  for (const int ranks : {1, 2, 3, 4}) {
    for (const std::int64_t n : {0, 1, 7, 24, 25, 61}) {
      for (const std::int64_t tile : {1, 3, 4, 100}) {
        for (const std::int64_t depth : {tile, tile + 1, 2 * tile, 3 * tile + 1, std::int64_t{1000}}) {
          SCOPED_TRACE(::testing::Message()
                       << "n = " << n << " on " << ranks << " ranks, tile " << tile << ", depth " << depth);
          const TileColumns layout(n, (n + ranks - 1) / ranks, tile, ranks);
          check(layout, depth, block_columns(layout, depth));
          if (::testing::Test::HasFailure()) return;
        }
      }
    }
  }
}

TEST(BlockColumns, JoinAllTilesInOrder) {
  for_block_columns([](const TileColumns& layout, std::int64_t, const std::vector<BlockColumn>& found) {
    std::int64_t next = 0;
    for (const BlockColumn& block : found) {
      EXPECT_EQ(block.first_tile, next);
      EXPECT_LT(block.first_tile, block.last_tile);
      EXPECT_EQ(block.begin, layout.begin(block.first_tile));
      EXPECT_EQ(block.end, layout.end(block.last_tile - 1));
      EXPECT_EQ(block.width(), block.end - block.begin);
      next = block.last_tile;
    }
    EXPECT_EQ(next, layout.count());
  });
}

TEST(BlockColumns, AreNoWiderThanTheDepth) {
  for_block_columns([](const TileColumns&, std::int64_t depth, const std::vector<BlockColumn>& found) {
    for (const BlockColumn& block : found) EXPECT_LE(block.width(), depth);
  });
}

TEST(BlockColumns, HoldAsManyTilesAsFit) {
  for_block_columns([](const TileColumns& layout, std::int64_t depth, const std::vector<BlockColumn>& found) {
    for (const BlockColumn& block : found) {
      if (block.last_tile == layout.count()) continue;
      EXPECT_GT(block.width() + layout.width(block.last_tile), depth);
    }
  });
}

TEST(BlockColumns, GetNarrowerTowardsTheEnd) {
  const std::int64_t n = 65536, depth = 2048;
  const auto found = block_columns(TileColumns(n, n / 4, shallow, 4), depth);
  EXPECT_EQ(found.front().width(), depth);
  EXPECT_EQ(found.back().width(), shallow);
  for (const BlockColumn& block : found) {
    if (block.width() <= shallow) continue;
    EXPECT_LE(16 * block.width(), n - block.begin);
  }
}

TEST(BlockColumns, HoldATileEvenIfItIsWiderThanTheDepth) {
  const auto found = block_columns(TileColumns(8, 4, 4, 2), 3);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].width(), 4);
}

}  // namespace
}  // namespace jaxmg
