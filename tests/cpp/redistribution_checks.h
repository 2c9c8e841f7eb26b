// Properties of in-place redistribution, for any kind of ranks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "dealt.h"
#include "gtest/gtest.h"
#include "matrices.h"
#include "solves.h"
#include "typed.h"

namespace jaxmg::testing {

template <class Parameter>
class Redistribute : public ::testing::Test {};

TYPED_TEST_SUITE_P(Redistribute);

// Layouts of full and ragged tiles, on 1 to 8 ranks, with few and many staging tiles.
template <class Ranks, class Check>
void for_layouts(Check&& check) {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    if (!Ranks::available(ranks)) continue;
    for (const std::int64_t shard : {1, 4, 12, 13}) {
      for (const std::int64_t tile : {1, 3, 4, 16}) {
        for (const std::int64_t staging : {std::int64_t{1}, std::int64_t{2}, shard / tile + 1}) {
          SCOPED_TRACE(::testing::Message() << ranks << " ranks, shard " << shard << ", tile " << tile << ", room for "
                                            << staging << " tiles");
          check(TileColumns(shard * ranks, shard, tile, ranks), staging);
          if (::testing::Test::HasFailure()) return;
        }
      }
    }
  }
}

TYPED_TEST_P(Redistribute, FollowsTheLayout) {
  using T = typename TypeParam::Scalar;
  for_layouts<typename TypeParam::Ranks>([](const TileColumns& layout, std::int64_t staging) {
    typename TypeParam::Ranks ranks(layout.ranks());
    const auto a = random_matrix<T>(5, layout.order(), 1);
    EXPECT_EQ(deal(ranks, in_blocks(a, layout), layout, staging, false), dealt(a, layout));
  });
}

TYPED_TEST_P(Redistribute, InverseRestores) {
  using T = typename TypeParam::Scalar;
  for_layouts<typename TypeParam::Ranks>([](const TileColumns& layout, std::int64_t staging) {
    typename TypeParam::Ranks ranks(layout.ranks());
    const auto a = random_matrix<T>(3, layout.order(), 2);
    EXPECT_EQ(deal(ranks, dealt(a, layout), layout, staging, true), in_blocks(a, layout));
  });
}

// If the matrix ends inside a shard, the padding moves along, and the matrix follows the layout.
TYPED_TEST_P(Redistribute, DealsMatricesThatEndInsideAShard) {
  using T = typename TypeParam::Scalar;
  for (const int ranks : {2, 3, 4, 8}) {
    if (!TypeParam::Ranks::available(ranks)) continue;
    for (const std::int64_t n : {9, 10, 17, 30, 41}) {
      for (const std::int64_t tile : {1, 2, 3, 5}) {
        SCOPED_TRACE(::testing::Message() << "n = " << n << " on " << ranks << " ranks, tile " << tile);
        const TileColumns layout(n, shard_of(n, ranks), tile, ranks);
        typename TypeParam::Ranks there(ranks);
        const auto a = random_matrix<T>(4, n, 3);
        EXPECT_EQ(collected(deal(there, in_blocks(a, layout), layout, 2, false), layout), a);
      }
    }
  }
}

REGISTER_TYPED_TEST_SUITE_P(Redistribute, FollowsTheLayout, InverseRestores, DealsMatricesThatEndInsideAShard);

}  // namespace jaxmg::testing
