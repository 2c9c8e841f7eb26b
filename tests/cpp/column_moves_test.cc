#include "layout/column_moves.h"

#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "algorithms/moves/move_columns.h"
#include "dealt.h"
#include "gtest/gtest.h"
#include "ranks.h"
#include "solves.h"

namespace jaxmg::testing {
namespace {

// From any layout of tiles, full and ragged, to any other layout of all or of some columns.
template <class Check>
void for_deals(Check&& check) {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    for (const std::int64_t n : {1, 7, 24, 41}) {
      for (const std::int64_t tile : {1, 3, 5, 50}) {
        for (const std::int64_t count : {n, (n + 1) / 2}) {
          const TileColumns from(n, shard_of(n, ranks), tile, ranks);
          const std::int64_t share = shard_of(count, ranks);
          SCOPED_TRACE(::testing::Message()
                       << count << " of " << n << " columns on " << ranks << " ranks, tile " << tile);
          check(from, block_cyclic(from), 0);
          check(block_cyclic(from), from, 0);
          check(block_cyclic(from), TileColumns(count, share, share, ranks), n - count);
          if (::testing::Test::HasFailure()) return;
        }
      }
    }
  }
}

// The column of the matrix at each place of each rank.
std::vector<std::pair<std::pair<int, std::int64_t>, std::int64_t>> places(const TileColumns& layout) {
  std::vector<std::pair<std::pair<int, std::int64_t>, std::int64_t>> all;
  for (std::int64_t t = 0; t < layout.count(); ++t) {
    for (std::int64_t j = 0; j < layout.width(t); ++j) {
      all.push_back({{layout.owner(t), layout.local_offset(t) + j}, layout.begin(t) + j});
    }
  }
  return all;
}

TEST(ColumnMoves, MoveEveryColumnToItsPlaceOnce) {
  for_deals([](const TileColumns& from, const TileColumns& to, std::int64_t first) {
    std::set<std::pair<std::pair<int, std::int64_t>, std::pair<int, std::int64_t>>> expected, found;
    const auto sources = places(from);
    for (const auto& [place, column] : places(to)) {
      const auto& [source, number] = sources[static_cast<std::size_t>(first + column)];
      ASSERT_EQ(number, first + column);
      expected.insert({source, place});
    }
    for (const ColumnMove& move : plan_column_moves(from, to, first)) {
      for (std::int64_t j = 0; j < move.columns; ++j) {
        EXPECT_TRUE(found.insert({{move.source, move.from_column + j}, {move.target, move.to_column + j}}).second);
      }
    }
    EXPECT_EQ(found, expected);
  });
}

TEST(ColumnMoves, BlockCyclicPlacesMatchVendorsLibraries) {
  for_deals([](const TileColumns& layout, const TileColumns&, std::int64_t) {
    const TileColumns cyclic = block_cyclic(layout);
    EXPECT_TRUE(is_block_cyclic(cyclic));
    EXPECT_EQ(cyclic.order(), layout.order());
    for (std::int64_t t = 0; t < cyclic.count(); ++t) {
      EXPECT_EQ(cyclic.begin(t), t * layout.tile());
      EXPECT_EQ(cyclic.owner(t), t % layout.ranks());
      EXPECT_EQ(cyclic.local_offset(t), t / layout.ranks() * layout.tile());
    }
    // Without ragged tiles nothing moves.
    if (is_block_cyclic(layout)) {
      EXPECT_EQ(places(layout), places(cyclic));
    }
  });
}

TEST(ColumnMoves, OneRankNeedsOneMove) {
  const TileColumns layout(41, 41, 5, 1);
  EXPECT_EQ(plan_column_moves(layout, block_cyclic(layout)), (std::vector<ColumnMove>{{0, 0, 0, 0, 41}}));
}

TEST(ColumnMoves, RanksReceiveTheirColumns) {
  for (const int ranks : {1, 3, 4}) {
    const TileColumns from(29, shard_of(29, ranks), 3, ranks), to = block_cyclic(from);
    const auto a = random_matrix<double>(5, 29, 1);
    HostRanks there(ranks);
    auto source = there.matrix<double>(5, from.shard());
    auto target = there.matrix<double>(5, to.shard());
    upload(source, dealt(a, from));
    there.run(
        [&](auto& engine) { move_columns(engine, from, source.view(engine.rank()), to, target.view(engine.rank())); });
    EXPECT_EQ(collected(download(target, ranks), to), a);
  }
}

}  // namespace
}  // namespace jaxmg::testing
