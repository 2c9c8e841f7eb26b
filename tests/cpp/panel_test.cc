#include "algorithms/panel.h"

#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace jaxmg {
namespace {

constexpr std::int64_t chunk = Panel<float>::chunk_rows;

// A panel that owns its memory.
struct Held {
  std::vector<std::byte> memory;
  Arena arena;
  Panel<float> panel;

  Held(std::int64_t rows, std::int64_t depth)
      : memory(static_cast<std::size_t>(rows * depth) * sizeof(float) + Arena::alignment),
        arena(memory.data(), static_cast<std::int64_t>(memory.size())),
        panel(arena, rows, depth) {}
};

// The address of every element of rows [begin, end), columns [column, column + columns).
std::vector<float*> elements(const Panel<float>& panel, std::int64_t begin, std::int64_t end, std::int64_t column,
                             std::int64_t columns) {
  std::vector<float*> all;
  std::int64_t next = begin;
  panel.pieces(begin, end, column, columns, [&](std::int64_t row, MatrixView<float> piece) {
    EXPECT_EQ(row, next) << "pieces follow each other";
    EXPECT_GE(piece.rows, 1);
    EXPECT_EQ(piece.columns, columns);
    EXPECT_EQ(row / chunk, (row + piece.rows - 1) / chunk) << "a piece lies in one chunk";
    EXPECT_LE(piece.ld, chunk);
    for (std::int64_t i = 0; i < piece.rows; ++i) {
      for (std::int64_t j = 0; j < columns; ++j) all.push_back(piece.at(i, j));
    }
    next = row + piece.rows;
  });
  EXPECT_EQ(next, end);
  return all;
}

TEST(Panel, ElementsFillTheMemoryOnce) {
  for (const std::int64_t rows : {std::int64_t{1}, chunk - 1, chunk, chunk + 1, 2 * chunk + 3}) {
    const std::int64_t depth = 3;
    Held held(rows, depth);
    const auto all = elements(held.panel, 0, rows, 0, depth);
    const std::set<float*> distinct(all.begin(), all.end());
    auto* const base = reinterpret_cast<float*>(held.memory.data());
    EXPECT_EQ(static_cast<std::int64_t>(distinct.size()), rows * depth);
    EXPECT_EQ(*distinct.begin(), base);
    EXPECT_EQ(*distinct.rbegin(), base + rows * depth - 1);
  }
}

// Every part of a panel addresses the same elements as the whole.
TEST(Panel, PartsAddressTheSameElements) {
  const std::int64_t rows = 2 * chunk + 100, depth = 4;
  Held held(rows, depth);
  const auto whole = elements(held.panel, 0, rows, 0, depth);
  for (const std::int64_t begin : {std::int64_t{0}, std::int64_t{5}, chunk - 1, chunk, 2 * chunk + 7}) {
    for (const std::int64_t end : {begin + 1, (begin + rows) / 2, rows}) {
      for (std::int64_t column = 0; column < depth; ++column) {
        const auto part = elements(held.panel, begin, end, column, 1);
        for (std::int64_t i = begin; i < end; ++i) {
          ASSERT_EQ(part[static_cast<std::size_t>(i - begin)], whole[static_cast<std::size_t>(i * depth + column)]);
        }
      }
    }
  }
}

TEST(Panel, EmptyRangesHaveNoPieces) {
  Held held(10, 2);
  held.panel.pieces(10, 10, 0, 2, [](std::int64_t, MatrixView<float>) { ADD_FAILURE(); });
}

}  // namespace
}  // namespace jaxmg
