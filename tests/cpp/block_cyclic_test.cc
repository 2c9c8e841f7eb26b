#include "layout/block_cyclic.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "block_cyclic_checks.h"
#include "core/error.h"
#include "gtest/gtest.h"
#include "ranks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Host, BlockCyclicMoves, OnAllScalars<HostRanks>);

namespace {

// The place of an index by definition (ScaLAPACK Users' Guide, section 4.3.1): block floor(i / nb) is the l-th of
// process p.
struct Place {
  std::int64_t p, l, x;
};
Place place(std::int64_t i, std::int64_t block, std::int64_t processes) {
  return {(i / block) % processes, i / (block * processes), i % block};
}

TEST(CyclicBlocks, FollowsTheDefinition) {
  for (const int processes : {1, 2, 3, 4, 8}) {
    for (const std::int64_t block : {1, 2, 3, 7, 64}) {
      for (const std::int64_t n : {0, 1, 2, 5, 16, 21, 50}) {
        const CyclicBlocks blocks{n, block, processes};
        std::vector<std::int64_t> counted(static_cast<std::size_t>(processes), 0);
        for (std::int64_t i = 0; i < n; ++i) {
          const Place where = place(i, block, processes);
          EXPECT_EQ(blocks.owner(i), where.p);
          EXPECT_EQ(blocks.local(i), where.l * block + where.x);
          // Local indices of a process are 0, 1, 2, ... in the order of the matrix.
          EXPECT_EQ(blocks.local(i), counted[static_cast<std::size_t>(where.p)]++);
        }
        for (int p = 0; p < processes; ++p) {
          EXPECT_EQ(blocks.count(p), counted[static_cast<std::size_t>(p)]) << n << ' ' << block << ' ' << p;
          EXPECT_LE(blocks.count(p), blocks.most());
        }
      }
    }
  }
}

TEST(ProcessGrid, IsAsSquareAsCanBe) {
  const auto grid = [](int rows, int columns) { return ProcessGrid{rows, columns}; };
  EXPECT_EQ(squarest_grid(1), grid(1, 1));
  EXPECT_EQ(squarest_grid(2), grid(1, 2));
  EXPECT_EQ(squarest_grid(4), grid(2, 2));
  EXPECT_EQ(squarest_grid(6), grid(2, 3));
  EXPECT_EQ(squarest_grid(7), grid(1, 7));
  EXPECT_EQ(squarest_grid(8), grid(2, 4));
  EXPECT_EQ(squarest_grid(16), grid(4, 4));
}

TEST(ProcessGrid, NumbersRanksDownItsColumns) {
  const ProcessGrid grid{2, 3};
  for (int rank = 0; rank < grid.size(); ++rank) {
    EXPECT_EQ(grid.rank(grid.row(rank), grid.column(rank)), rank);
    EXPECT_EQ(grid.row(rank) + 2 * grid.column(rank), rank);
  }
}

TEST(BlockCyclic, PiecesMatchJaxsShards) {
  const BlockCyclic rows = BlockCyclic::in_pieces(10, 10, {1, 4});  // shards of 3 columns
  EXPECT_EQ(rows.local_columns(0), 3);
  EXPECT_EQ(rows.local_columns(3), 1);
  EXPECT_EQ(rows.local_rows(3), 10);
  const BlockCyclic blocks = BlockCyclic::in_pieces(12, 12, {2, 3});
  EXPECT_EQ(blocks.local_rows(1), 6);
  EXPECT_EQ(blocks.local_columns(1), 4);
  const BlockCyclic tiny = BlockCyclic::in_pieces(2, 2, {1, 8});
  EXPECT_EQ(tiny.local_columns(1), 1);
  EXPECT_EQ(tiny.local_columns(2), 0);
}

// Every element is in exactly one move, from its place in one layout to its place in the other.
TEST(BlockCyclic, MovesEveryElementOnce) {
  for_distributions<HostRanks>([](const BlockCyclic& from, const BlockCyclic& to) {
    std::vector<int> moved(static_cast<std::size_t>(to.rows.n * to.columns.n), 0);
    const std::int64_t first = from.columns.n - to.columns.n;
    std::vector<std::vector<std::int64_t>> global(static_cast<std::size_t>(from.grid().size()));
    const auto at = [&](const BlockCyclic& layout, int rank, std::int64_t i, std::int64_t j) {
      return static_cast<std::size_t>(i + j * layout.ld(rank));
    };
    for (int r = 0; r < from.grid().size(); ++r)
      global[static_cast<std::size_t>(r)].resize(static_cast<std::size_t>(from.most_elements()), -1);
    for (std::int64_t j = 0; j < to.columns.n; ++j) {
      for (std::int64_t i = 0; i < to.rows.n; ++i) {
        const int rank = from.grid().rank(from.rows.owner(i), from.columns.owner(first + j));
        global[static_cast<std::size_t>(rank)][at(from, rank, from.rows.local(i), from.columns.local(first + j))] =
            i + j * to.rows.n;
      }
    }
    for (const BlockMove& m : plan_moves(from, to, first)) {
      for (std::int64_t j = 0; j < m.columns; ++j) {
        for (std::int64_t i = 0; i < m.rows; ++i) {
          const std::int64_t element =
              global[static_cast<std::size_t>(m.source)][at(from, m.source, m.from_row + i, m.from_column + j)];
          ASSERT_GE(element, 0) << "an element outside the matrix is moved";
          const std::int64_t row = element % to.rows.n, column = element / to.rows.n;
          EXPECT_EQ(m.target, to.grid().rank(to.rows.owner(row), to.columns.owner(column)));
          EXPECT_EQ(m.to_row + i, to.rows.local(row));
          EXPECT_EQ(m.to_column + j, to.columns.local(column));
          ++moved[static_cast<std::size_t>(element)];
        }
      }
    }
    EXPECT_TRUE(std::all_of(moved.begin(), moved.end(), [](int times) { return times == 1; }));
  });
}

TEST(BlockCyclic, AdjacentElementsShareAMove) {
  const auto pieces = [](std::int64_t n, ProcessGrid grid) { return BlockCyclic::in_pieces(n, n, grid); };
  // The same distribution twice: one move per rank.
  EXPECT_EQ(plan_moves(pieces(24, {2, 3}), pieces(24, {2, 3})).size(), 6U);
  EXPECT_EQ(plan_moves(BlockCyclic(24, 24, 2, 2, {2, 2}), BlockCyclic(24, 24, 2, 2, {2, 2})).size(), 4U);
  // One process has everything in order, however narrow its blocks are.
  EXPECT_EQ(plan_moves(pieces(24, {1, 1}), BlockCyclic(24, 24, 2, 2, {1, 1})).size(), 1U);
  // From columns in pieces to a grid of one row: whole columns of blocks.
  EXPECT_EQ(plan_moves(pieces(24, {1, 4}), BlockCyclic(24, 24, 2, 2, {1, 4})).size(), 12U);
  // Blocks as large as the pieces are moved whole.
  EXPECT_EQ(plan_moves(pieces(24, {1, 4}), BlockCyclic(24, 24, 6, 6, {2, 2})).size(), 16U);
}

TEST(BlockCyclic, RejectsShapesThatDoNotFit) {
  EXPECT_THROW(BlockCyclic(4, 4, 0, 2, {1, 1}), Error);
  EXPECT_THROW(BlockCyclic(4, 4, 2, 2, {0, 1}), Error);
  EXPECT_THROW(plan_moves(BlockCyclic(4, 4, 2, 2, {1, 1}), BlockCyclic(4, 3, 2, 2, {1, 1}), 2), Error);
  EXPECT_THROW(plan_moves(BlockCyclic(4, 4, 2, 2, {1, 1}), BlockCyclic(3, 4, 2, 2, {1, 1})), Error);
}

}  // namespace
}  // namespace jaxmg::testing
