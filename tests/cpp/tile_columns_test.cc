#include "layout/tile_columns.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "core/error.h"
#include "gtest/gtest.h"

namespace jaxmg {
namespace {

// Orders that fill their shards or end inside one; tiles that divide a shard, do not divide it, or exceed it.
template <class Check>
void for_layouts(Check&& check) {
  for (const int ranks : {1, 2, 3, 4, 5, 8}) {
    for (const std::int64_t shard : {1, 2, 3, 7, 12, 30}) {
      for (const std::int64_t tile : {1, 2, 3, 5, 12, 30, 31, 100}) {
        std::set<std::int64_t> orders{
            0, 1, shard, shard * ranks, shard * ranks - 1, shard * ranks - ranks, shard * ranks / 2 + 1};
        for (const std::int64_t n : orders) {
          if (n < 0 || n > shard * ranks) continue;
          SCOPED_TRACE(::testing::Message()
                       << "n = " << n << ", shard " << shard << ", tile " << tile << ", " << ranks << " ranks");
          check(TileColumns(n, shard, tile, ranks));
          if (::testing::Test::HasFailure()) return;
        }
      }
    }
  }
}

TEST(TileColumns, TilesAreContiguousAndCoverAllColumns) {
  for_layouts([](const TileColumns& layout) {
    std::int64_t next = 0;
    for (std::int64_t t = 0; t < layout.count(); ++t) {
      EXPECT_EQ(layout.begin(t), next);
      EXPECT_GE(layout.width(t), 1);
      EXPECT_LE(layout.width(t), layout.tile());
      EXPECT_EQ(layout.end(t), layout.begin(t) + layout.width(t));
      next = layout.end(t);
    }
    EXPECT_EQ(next, layout.order());
  });
}

TEST(TileColumns, NoTileCrossesTheEndOfAShard) {
  for_layouts([](const TileColumns& layout) {
    for (std::int64_t t = 0; t < layout.count(); ++t) {
      EXPECT_EQ(layout.begin(t) / layout.shard(), (layout.end(t) - 1) / layout.shard());
    }
  });
}

TEST(TileColumns, NoTwoColumnsShareAPlace) {
  for_layouts([](const TileColumns& layout) {
    std::set<std::pair<int, std::int64_t>> places;
    for (std::int64_t t = 0; t < layout.count(); ++t) {
      EXPECT_GE(layout.owner(t), 0);
      EXPECT_LT(layout.owner(t), layout.ranks());
      EXPECT_GE(layout.local_offset(t), 0);
      EXPECT_LE(layout.local_offset(t) + layout.width(t), layout.shard());
      for (std::int64_t j = 0; j < layout.width(t); ++j) {
        EXPECT_TRUE(places.emplace(layout.owner(t), layout.local_offset(t) + j).second);
      }
    }
  });
}

// Dealing moves full tiles between places of full tiles: it is an in-place permutation.
TEST(TileColumns, DealPermutesThePlacesOfTilesOfEachKind) {
  for_layouts([](const TileColumns& layout) {
    const std::int64_t full = layout.full_slots() * layout.tile();
    for (std::int64_t t = 0; t < layout.count(); ++t) {
      const std::int64_t in_shard = layout.begin(t) % layout.shard();
      if (in_shard < full) {
        EXPECT_EQ(layout.local_offset(t) % layout.tile(), 0);
        EXPECT_LT(layout.local_offset(t), full);
      } else {
        EXPECT_EQ(layout.owner(t), layout.begin(t) / layout.shard());
        EXPECT_EQ(layout.local_offset(t), in_shard);
      }
    }
  });
}

TEST(TileColumns, FullTilesAreDealtRoundRobin) {
  for_layouts([](const TileColumns& layout) {
    std::int64_t dealt = 0;
    for (std::int64_t t = 0; t < layout.count(); ++t) {
      if (layout.begin(t) % layout.shard() >= layout.full_slots() * layout.tile()) continue;
      EXPECT_EQ(layout.owner(t), dealt % layout.ranks());
      EXPECT_EQ(layout.local_offset(t), dealt / layout.ranks() * layout.tile());
      ++dealt;
    }
  });
}

TEST(TileColumns, AMatrixThatFillsItsShardsIsDealtEvenly) {
  for_layouts([](const TileColumns& layout) {
    if (layout.order() != layout.shard() * layout.ranks()) return;
    for (int r = 0; r < layout.ranks(); ++r) EXPECT_EQ(layout.packed_total(r), layout.shard());
  });
}

TEST(TileColumns, TilesOfARankAreThoseItOwns) {
  for_layouts([](const TileColumns& layout) {
    std::int64_t owned = 0;
    for (int r = 0; r < layout.ranks(); ++r) {
      const auto& tiles = layout.tiles_of(r);
      EXPECT_TRUE(std::is_sorted(tiles.begin(), tiles.end()));
      for (const std::int64_t t : tiles) EXPECT_EQ(layout.owner(t), r);
      owned += static_cast<std::int64_t>(tiles.size());
    }
    EXPECT_EQ(owned, layout.count());
  });
}

TEST(TileColumns, PackedOffsetsCountTheColumnsOfTheRankBefore) {
  for_layouts([](const TileColumns& layout) {
    std::vector<std::int64_t> before(static_cast<std::size_t>(layout.ranks()), 0);
    for (std::int64_t t = 0; t <= layout.count(); ++t) {
      for (int r = 0; r < layout.ranks(); ++r) {
        EXPECT_EQ(layout.packed_before(r, t), before[static_cast<std::size_t>(r)]);
      }
      if (t == layout.count()) break;
      std::int64_t& own = before[static_cast<std::size_t>(layout.owner(t))];
      EXPECT_EQ(layout.packed_offset(t), own);
      own += layout.width(t);
    }
    for (int r = 0; r < layout.ranks(); ++r) {
      EXPECT_EQ(layout.packed_total(r), before[static_cast<std::size_t>(r)]);
      EXPECT_LE(layout.packed_total(r), layout.shard());
    }
  });
}

TEST(TileColumns, SpansCoverTheTilesAndAreMaximal) {
  for_layouts([](const TileColumns& layout) {
    for (int r = 0; r < layout.ranks(); ++r) {
      for (std::int64_t first = 0; first <= layout.count(); first += 2) {
        for (std::int64_t last = first; last <= layout.count(); last += 3) {
          std::set<std::int64_t> expected, found;
          for (std::int64_t t = first; t < last; ++t) {
            if (layout.owner(t) != r) continue;
            for (std::int64_t j = 0; j < layout.width(t); ++j) expected.insert(layout.local_offset(t) + j);
          }
          std::int64_t end = -1;
          for (const Span& span : layout.spans(r, first, last)) {
            EXPECT_GT(span.begin, end);
            end = span.begin + span.width;
            for (std::int64_t j = span.begin; j < end; ++j) found.insert(j);
          }
          EXPECT_EQ(found, expected);
        }
      }
    }
  });
}

TEST(TileColumns, SpansOfColumnsCoverTheColumnsAndAreMaximal) {
  for_layouts([](const TileColumns& layout) {
    for (int r = 0; r < layout.ranks(); ++r) {
      for (std::int64_t begin = 0; begin <= layout.order(); begin += 3) {
        for (std::int64_t end = begin; end <= layout.order(); end += 5) {
          std::set<std::int64_t> expected, found;
          for (const std::int64_t t : layout.tiles_of(r)) {
            for (std::int64_t j = std::max(begin, layout.begin(t)); j < std::min(end, layout.end(t)); ++j) {
              expected.insert(layout.local_offset(t) + j - layout.begin(t));
            }
          }
          std::int64_t before = -1;
          for (const Span& span : layout.spans_of_columns(r, begin, end)) {
            EXPECT_GT(span.begin, before);
            before = span.begin + span.width;
            for (std::int64_t j = span.begin; j < before; ++j) found.insert(j);
          }
          EXPECT_EQ(found, expected);
        }
      }
    }
  });
}

TEST(TileColumns, OneRankKeepsTheOrderOfTheMatrix) {
  for_layouts([](const TileColumns& layout) {
    if (layout.ranks() > 1) return;
    for (std::int64_t t = 0; t < layout.count(); ++t) EXPECT_EQ(layout.local_offset(t), layout.begin(t));
  });
}

// The number of columns before a shard exceeds 32 bits.
TEST(TileColumns, HoldsOrdersBeyond32Bits) {
  const std::int64_t shard = std::int64_t{1} << 40, tile = shard / 4;
  const TileColumns layout(4 * shard, shard, tile, 4);
  EXPECT_EQ(layout.count(), 16);
  EXPECT_EQ(layout.end(15), 4 * shard);
  EXPECT_EQ(layout.local_offset(15), 3 * tile);
}

TEST(TileColumns, RejectsInvalidLayouts) {
  EXPECT_THROW(TileColumns(9, 2, 1, 4), Error);  // more columns than shards hold
  EXPECT_THROW(TileColumns(8, 2, 0, 4), Error);
  EXPECT_THROW(TileColumns(8, 2, -1, 4), Error);
  EXPECT_THROW(TileColumns(8, 8, 1, 0), Error);
  EXPECT_THROW(TileColumns(-1, 2, 1, 4), Error);
  EXPECT_THROW(TileColumns(0, -1, 1, 4), Error);
  EXPECT_THROW(TileColumns(-1, 8, 2, 1, 4), Error);
  EXPECT_THROW(TileColumns(8, 9, 2, 1, 4), Error);
}

// All rows of a column lie on its owner, and therefore a layout depends only on the columns.
TEST(TileColumns, RectangularAndSquareMatricesOfEqualWidthAreDealtAlike) {
  for_layouts([](const TileColumns& square) {
    for (const std::int64_t rows : {std::int64_t{0}, std::int64_t{1}, square.columns() + 3}) {
      const TileColumns layout(rows, square.columns(), square.shard(), square.tile(), square.ranks());
      EXPECT_EQ(layout.rows(), rows);
      EXPECT_EQ(layout.columns(), square.columns());
      ASSERT_EQ(layout.count(), square.count());
      for (std::int64_t t = 0; t < layout.count(); ++t) {
        EXPECT_EQ(layout.begin(t), square.begin(t));
        EXPECT_EQ(layout.width(t), square.width(t));
        EXPECT_EQ(layout.owner(t), square.owner(t));
        EXPECT_EQ(layout.local_offset(t), square.local_offset(t));
      }
    }
  });
}

TEST(TileColumns, OnlyASquareMatrixHasAnOrder) {
  EXPECT_EQ(TileColumns(8, 8, 2, 1, 4).order(), 8);
  EXPECT_THROW(TileColumns(7, 8, 2, 1, 4).order(), Error);
  EXPECT_THROW(TileColumns(9, 8, 2, 1, 4).order(), Error);
}

}  // namespace
}  // namespace jaxmg
