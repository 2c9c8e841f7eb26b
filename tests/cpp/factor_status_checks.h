// Detection of failure on the diagonal of a dealt Cholesky factor, for any engine.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "algorithms/cholesky/factor_status.h"
#include "core/arena.h"
#include "dealt.h"
#include "gtest/gtest.h"
#include "layout/tile_columns.h"
#include "matrices.h"
#include "solves.h"
#include "typed.h"

namespace jaxmg::testing {

template <class Parameter>
class FactorStatus : public ::testing::Test {};

TYPED_TEST_SUITE_P(FactorStatus);

// Elements off the diagonal, NaN here, and later failures do not count.
TYPED_TEST_P(FactorStatus, IsTheFirstFailingElementOfTheDiagonal) {
  using T = typename TypeParam::Scalar;
  const Real<T> infinity = std::numeric_limits<Real<T>>::infinity();
  for (const int ranks : {1, 2, 3, 4}) {
    if (!TypeParam::Ranks::available(ranks)) continue;
    for (const auto& [n, tile] : {std::pair{5, 1}, {41, 4}, {64, 8}, {23, 64}}) {
      const std::int64_t shard = shard_of(n, ranks);
      const TileColumns layout(n, shard, std::min<std::int64_t>(tile, shard), ranks);
      typename TypeParam::Ranks there(ranks);
      auto shards = there.template matrix<T>(n, shard);
      StagedWorkspace measured(Arena(), layout);
      auto workspace = there.template matrix<std::byte>(measured.bytes(), 1);
      std::int64_t turn = 0;
      for (std::int64_t at = 0; at <= n; at += n < 8 ? 1 : 3) {
        SCOPED_TRACE(::testing::Message()
                     << "element " << at << " of " << n << " on " << ranks << " ranks, tile " << tile);
        Matrix<T> factor(n, n, not_a_number<T>());
        for (std::int64_t i = 0; i < n; ++i) factor(i, i) = T(1);
        const T bad[] = {T(0), T(-1), T(infinity), not_a_number<T>()};
        if (at < n) factor(at, at) = bad[turn++ % 4];
        if (at + 2 < n) factor(at + 2, at + 2) = T(-1);
        upload(shards, dealt(factor, layout));
        std::vector<std::ptrdiff_t> place(static_cast<std::size_t>(ranks));
        there.run([&](auto& engine) {
          const int rank = engine.rank();
          const auto memory = workspace.view(rank);
          StagedWorkspace w(arena_over(memory), layout);
          check_diagonal(engine, layout, shards.view(rank), w);
          place[static_cast<std::size_t>(rank)] = reinterpret_cast<std::byte*>(w.info + rank) - memory.data;
        });
        std::int32_t first = no_failure;
        for (int r = 0; r < ranks; ++r) {
          const auto bytes = workspace.download(r);
          std::int32_t info = 0;
          std::memcpy(&info, bytes.data() + place[static_cast<std::size_t>(r)], sizeof(info));
          first = std::min(first, info);
        }
        EXPECT_EQ(first, at < n ? at + 1 : no_failure);
      }
    }
  }
}

REGISTER_TYPED_TEST_SUITE_P(FactorStatus, IsTheFirstFailingElementOfTheDiagonal);

}  // namespace jaxmg::testing
