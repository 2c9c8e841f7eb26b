#include "layout/redistribution.h"

#include <cstdint>
#include <map>
#include <set>
#include <tuple>
#include <vector>

#include "core/error.h"
#include "gtest/gtest.h"
#include "ranks.h"
#include "redistribution_checks.h"

namespace jaxmg {

static bool operator<(const TilePlace& a, const TilePlace& b) {
  return std::tie(a.rank, a.slot, a.staged) < std::tie(b.rank, b.slot, b.staged);
}

namespace testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Host, Redistribute, OnAllScalars<HostRanks>);

namespace {

using Places = std::map<TilePlace, std::int64_t>;  // the tile of the matrix at each place

Places block_order(const TileColumns& layout) {
  Places places;
  for (int r = 0; r < layout.ranks(); ++r) {
    for (std::int64_t slot = 0; slot < layout.full_slots(); ++slot) {
      places[{r, slot}] = r * layout.full_slots() + slot;
    }
  }
  return places;
}

// Full tiles are dealt to the ranks round-robin.
Places dealt_order(const TileColumns& layout) {
  Places places;
  for (std::int64_t t = 0; t < layout.ranks() * layout.full_slots(); ++t) {
    places[{static_cast<int>(t % layout.ranks()), t / layout.ranks()}] = t;
  }
  return places;
}

// Runs the moves of each round simultaneously. Fails if moves of a round conflict.
void run(const std::vector<RedistributionRound>& rounds, const TileColumns& layout, std::int64_t staging,
         Places& places) {
  for (const RedistributionRound& round : rounds) {
    std::set<TilePlace> touched;
    Places arrived;
    for (const TileMove& move : round) {
      for (const TilePlace& place : {move.from, move.to}) {
        ASSERT_TRUE(touched.insert(place).second) << "a place is in two moves of a round";
        ASSERT_GE(place.rank, 0);
        ASSERT_LT(place.rank, layout.ranks());
        ASSERT_GE(place.slot, 0);
        ASSERT_LT(place.slot, place.staged ? staging : layout.full_slots());
      }
      ASSERT_TRUE(places.contains(move.from)) << "an empty place is moved";
      arrived[move.to] = places[move.from];
    }
    for (const auto& [place, tile] : arrived) places[place] = tile;
  }
  std::erase_if(places, [](const auto& entry) { return entry.first.staged; });
}

template <class Check>
void for_plans(Check&& check) {
  for (const int ranks : {1, 2, 3, 4, 5, 7, 8}) {
    for (const std::int64_t slots : {0, 1, 2, 3, 4, 5, 8, 12, 31}) {
      for (const std::int64_t staging : {1, 2, 3, 7, 64}) {
        const std::int64_t tile = 2, shard = slots * tile + slots % 2;  // every other one with a ragged tile
        SCOPED_TRACE(::testing::Message() << ranks << " ranks, " << slots << " slots, " << staging << " staging tiles");
        check(TileColumns(shard * ranks, shard, tile, ranks), staging);
        if (::testing::Test::HasFailure()) return;
      }
    }
  }
}

TEST(RedistributionPlan, DealsTheTiles) {
  for_plans([](const TileColumns& layout, std::int64_t staging) {
    Places places = block_order(layout);
    run(plan_redistribution(layout, staging, false), layout, staging, places);
    EXPECT_EQ(places, dealt_order(layout));
  });
}

TEST(RedistributionPlan, InverseRestores) {
  for_plans([](const TileColumns& layout, std::int64_t staging) {
    Places places = dealt_order(layout);
    run(plan_redistribution(layout, staging, true), layout, staging, places);
    EXPECT_EQ(places, block_order(layout));
  });
}

// A tile is sent to another rank at most once, and only if its rank changes.
TEST(RedistributionPlan, SendsEachTileToItsRankOnce) {
  for_plans([](const TileColumns& layout, std::int64_t staging) {
    Places places = block_order(layout);
    std::map<std::int64_t, int> crossings;
    for (const RedistributionRound& round : plan_redistribution(layout, staging, false)) {
      Places arrived;
      for (const TileMove& move : round) {
        crossings[places[move.from]] += move.from.rank != move.to.rank;
        arrived[move.to] = places[move.from];
      }
      for (const auto& [place, tile] : arrived) places[place] = tile;
    }
    for (const auto& [place, tile] : block_order(layout)) {
      EXPECT_EQ(crossings[tile], place.rank == tile % layout.ranks() ? 0 : 1);
    }
  });
}

// In every round a rank receives as many tiles as it sends, and sends no more than it can stage.
TEST(RedistributionPlan, KeepsAllLinksBusy) {
  for_plans([](const TileColumns& layout, std::int64_t staging) {
    for (const RedistributionRound& round : plan_redistribution(layout, staging, false)) {
      std::map<int, int> sent, received;
      for (const TileMove& move : round) {
        if (move.from.rank == move.to.rank) continue;
        ++sent[move.from.rank];
        ++received[move.to.rank];
      }
      EXPECT_EQ(sent, received);
      for (const auto& [rank, tiles] : sent) EXPECT_LE(tiles, staging);
    }
  });
}

TEST(RedistributionPlan, MoreStagingNeedsFewerRounds) {
  for (const int ranks : {2, 3, 4, 8}) {
    const TileColumns layout(64 * ranks, 64, 1, ranks);
    const auto rounds = [&](std::int64_t staging) { return plan_redistribution(layout, staging, false).size(); };
    EXPECT_LE(2 * rounds(16), rounds(4));
    EXPECT_LE(2 * rounds(4), rounds(1));
  }
}

TEST(RedistributionPlan, NothingToDo) {
  EXPECT_TRUE(plan_redistribution(TileColumns(12, 12, 3, 1), 0, false).empty());  // one rank
  EXPECT_TRUE(plan_redistribution(TileColumns(12, 4, 5, 3), 0, false).empty());   // no full tile
}

TEST(RedistributionPlan, NeedsAStagingTile) {
  EXPECT_THROW(plan_redistribution(TileColumns(12, 4, 2, 3), 0, false), Error);
}

}  // namespace
}  // namespace testing
}  // namespace jaxmg
