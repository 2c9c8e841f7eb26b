// Properties of redistribution to a block-cyclic distribution and back, for any kind of ranks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "algorithms/moves/block_cyclic.h"
#include "gtest/gtest.h"
#include "layout/block_cyclic.h"
#include "matrices.h"
#include "solves.h"
#include "typed.h"

namespace jaxmg::testing {

// The part of every rank, by the arithmetic of the layout, padded with NaN.
template <class T>
std::vector<Matrix<T>> parts_of(const Matrix<T>& a, const BlockCyclic& layout) {
  std::vector<Matrix<T>> parts(static_cast<std::size_t>(layout.grid().size()),
                               Matrix<T>(layout.most_elements(), 1, not_a_number<T>()));
  for (std::int64_t j = 0; j < a.columns(); ++j) {
    for (std::int64_t i = 0; i < a.rows(); ++i) {
      const int rank = layout.grid().rank(layout.rows.owner(i), layout.columns.owner(j));
      parts[static_cast<std::size_t>(rank)](layout.rows.local(i) + layout.columns.local(j) * layout.ld(rank), 0) =
          a(i, j);
    }
  }
  return parts;
}

// The inverse of `parts_of`.
template <class T>
Matrix<T> whole_of(const std::vector<Matrix<T>>& parts, const BlockCyclic& layout) {
  Matrix<T> a(layout.rows.n, layout.columns.n);
  for (std::int64_t j = 0; j < a.columns(); ++j) {
    for (std::int64_t i = 0; i < a.rows(); ++i) {
      const int rank = layout.grid().rank(layout.rows.owner(i), layout.columns.owner(j));
      a(i, j) =
          parts[static_cast<std::size_t>(rank)](layout.rows.local(i) + layout.columns.local(j) * layout.ld(rank), 0);
    }
  }
  return a;
}

// From JAX's blocks of columns, or of rows and columns, to tiles on grids of every shape. Tiles are smaller and larger
// than the blocks; matrices are square, or some columns of a square matrix.
template <class Ranks, class Check>
void for_distributions(Check&& check) {
  for (const int ranks : {1, 2, 3, 4, 6, 8}) {
    if (!Ranks::available(ranks)) continue;
    std::vector<ProcessGrid> grids;
    for (int rows = 1; rows <= ranks; ++rows) {
      if (ranks % rows == 0) grids.push_back({rows, ranks / rows});
    }
    for (const std::int64_t n : {1, 5, 24, 31}) {
      for (const std::int64_t tile : {1, 3, 8, 40}) {
        for (const ProcessGrid& grid : grids) {
          const ProcessGrid pieces = tile % 2 == 0 && n == 24 ? grids[grids.size() / 2] : ProcessGrid{1, ranks};
          const std::int64_t columns = tile == 3 ? (n + 1) / 2 : n;  // the last ones
          SCOPED_TRACE(::testing::Message()
                       << n << " x " << columns << " in pieces on " << pieces.rows << " x " << pieces.columns
                       << ", tiles of " << tile << " on " << grid.rows << " x " << grid.columns);
          check(BlockCyclic::in_pieces(n, n, pieces), BlockCyclic(n, columns, tile, tile, grid));
          if (::testing::Test::HasFailure()) return;
        }
      }
    }
  }
}

template <class Parameter>
class BlockCyclicMoves : public ::testing::Test {};

TYPED_TEST_SUITE_P(BlockCyclicMoves);

TYPED_TEST_P(BlockCyclicMoves, FollowTheLayoutAndAreInvertible) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  for_distributions<Ranks>([](const BlockCyclic& from, const BlockCyclic& to) {
    const int size = from.grid().size();
    const std::int64_t first = from.columns.n - to.columns.n;
    const auto a = random_matrix<T>(from.rows.n, from.columns.n, 1);
    Ranks ranks(size);
    auto source = ranks.template matrix<T>(from.most_elements(), 1);
    auto target = ranks.template matrix<T>(to.most_elements(), 1);
    auto back = ranks.template matrix<T>(from.most_elements(), 1);
    upload(source, parts_of(a, from));
    ranks.run([&](auto& engine) {
      const BlockCyclicMatrix<T> there(to, target.view(engine.rank()).data);
      move(engine, BlockCyclicMatrix<T>(from, source.view(engine.rank()).data), there, first);
      if (first == 0) move(engine, there, BlockCyclicMatrix<T>(from, back.view(engine.rank()).data));
      engine.join();
    });
    Matrix<T> columns(a.rows(), to.columns.n);
    std::copy_n(a.data() + first * a.rows(), columns.rows() * columns.columns(), columns.data());
    EXPECT_EQ(whole_of(download(target, size), to), columns);
    if (first == 0) {
      EXPECT_EQ(whole_of(download(back, size), from), a);
    }
  });
}

TYPED_TEST_P(BlockCyclicMoves, DealAndGatherCopies) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  for (const int size : {1, 2, 4, 6}) {
    if (!Ranks::available(size)) continue;
    for (const std::int64_t columns : {1, 7}) {
      const BlockCyclic layout(23, columns, 4, 4, squarest_grid(size));
      const auto b = random_matrix<T>(23, columns, 2);
      Ranks ranks(size);
      auto copies = ranks.template matrix<T>(23, columns);
      auto parts = ranks.template matrix<T>(layout.most_elements(), 1);
      auto gathered = ranks.template matrix<T>(23, columns);
      upload(copies, std::vector<Matrix<T>>(static_cast<std::size_t>(size), b));
      ranks.run([&](auto& engine) {
        const BlockCyclicMatrix<T> dealt(layout, parts.view(engine.rank()).data);
        deal_copies(engine, copies.view(engine.rank()), dealt);
        gather_copies(engine, dealt, gathered.view(engine.rank()));
        engine.join();
      });
      EXPECT_EQ(whole_of(download(parts, size), layout), b);
      for (const auto& copy : download(gathered, size)) EXPECT_EQ(copy, b);
    }
  }
}

REGISTER_TYPED_TEST_SUITE_P(BlockCyclicMoves, FollowTheLayoutAndAreInvertible, DealAndGatherCopies);

}  // namespace jaxmg::testing
