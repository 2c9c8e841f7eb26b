// Factorisations and solves on any kind of ranks (see ranks.h), from matrices to matrices.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <vector>

#include "algorithms/potrf.h"
#include "algorithms/potrs.h"
#include "algorithms/redistribute.h"
#include "backends/tiled_cholesky.h"
#include "dealt.h"
#include "matrices.h"

namespace jaxmg::testing {

// How a matrix of order n is dealt and worked on.
struct Shape {
  std::int64_t n;
  int ranks;
  std::int64_t tile, depth, slots;

  TileColumns layout() const { return {n, shard_of(n, ranks), tile, ranks}; }

  friend std::ostream& operator<<(std::ostream& out, const Shape& s) {
    return out << "n = " << s.n << " on " << s.ranks << " ranks, tile " << s.tile << ", depth " << s.depth << ", "
               << s.slots << " slots";
  }
};

template <class OnRanks, class T>
void upload(OnRanks& to, const std::vector<Matrix<T>>& from) {
  for (std::size_t r = 0; r < from.size(); ++r) to.upload(static_cast<int>(r), from[r]);
}

template <class OnRanks>
auto download(const OnRanks& from, int ranks) {
  std::vector<decltype(from.download(0))> all;
  for (int r = 0; r < ranks; ++r) all.push_back(from.download(r));
  return all;
}

inline Arena arena_over(MatrixView<std::byte> memory) { return {memory.data, memory.rows}; }

template <class T>
struct Factorization {
  Matrix<T> l;
  std::int32_t info;         // 0 or the order of the first failing minor
  std::vector<Matrix<T>> y;  // of each rank
};

// A = L L^H and, along with it, L Y = B, all ranks holding all of B.
template <class T, class Ranks>
Factorization<T> factor(Ranks& ranks, const Matrix<T>& a, const Shape& shape, const Matrix<T>& b = {}) {
  const TileColumns layout = shape.layout();
  Arena measure;
  PotrfWorkspace<T>(measure, layout, shape.depth, shape.slots, b.columns());
  auto shards = ranks.template matrix<T>(shape.n, layout.shard());
  auto y = ranks.template matrix<T>(b.rows(), b.columns());
  auto infos = ranks.template matrix<std::int32_t>(1, 1);
  auto workspace = ranks.template matrix<std::byte>(measure.used(), 1);
  upload(shards, dealt(a, layout));
  upload(y, std::vector<Matrix<T>>(static_cast<std::size_t>(shape.ranks), b));
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    std::int32_t* const info = infos.view(rank).data;
    engine.set_info(Lane::panel, info, no_failure);
    engine.join();
    Arena arena = arena_over(workspace.view(rank));
    PotrfWorkspace<T> w(arena, layout, shape.depth, shape.slots, b.columns());
    Potrf<T, typename Ranks::Engine>(engine, layout, shape.depth, shards.view(rank), y.view(rank), w, info).run();
  });
  std::int32_t first = no_failure;
  for (const auto& info : download(infos, shape.ranks)) first = std::min(first, info(0, 0));
  return {lower_triangle(collected(download(shards, shape.ranks), layout)), first == no_failure ? 0 : first,
          download(y, shape.ranks)};
}

// L L^H X = B, all ranks holding all of B. Returns what each of them has for X.
template <class T, class Ranks>
std::vector<Matrix<T>> solve_few(Ranks& ranks, const Matrix<T>& l, const Matrix<T>& b, const Shape& shape) {
  const TileColumns layout = shape.layout();
  Arena measure;
  PotrsFewWorkspace<T>(measure, layout, b.columns());
  auto shards = ranks.template matrix<T>(shape.n, layout.shard());
  auto x = ranks.template matrix<T>(shape.n, b.columns());
  auto workspace = ranks.template matrix<std::byte>(measure.used(), 1);
  upload(shards, dealt(l, layout));
  upload(x, std::vector<Matrix<T>>(static_cast<std::size_t>(shape.ranks), b));
  ranks.run([&](auto& engine) {
    Arena arena = arena_over(workspace.view(engine.rank()));
    PotrsFewWorkspace<T> w(arena, layout, b.columns());
    PotrsFew<T, typename Ranks::Engine>(engine, layout, shards.view(engine.rank()), x.view(engine.rank()), w).run();
  });
  return download(x, shape.ranks);
}

// B in equal parts for the ranks, padded with zeros; and back.
template <class T>
std::vector<Matrix<T>> columns_for_each(const Matrix<T>& b, int ranks) {
  const std::int64_t share = shard_of(b.columns(), ranks);
  std::vector<Matrix<T>> parts(static_cast<std::size_t>(ranks), Matrix<T>(b.rows(), share));
  for (std::int64_t j = 0; j < b.columns(); ++j) {
    for (std::int64_t i = 0; i < b.rows(); ++i) parts[static_cast<std::size_t>(j / share)](i, j % share) = b(i, j);
  }
  return parts;
}
template <class T>
Matrix<T> side_by_side(const std::vector<Matrix<T>>& parts, std::int64_t columns) {
  Matrix<T> b(parts[0].rows(), columns);
  const std::int64_t share = parts[0].columns();
  for (std::int64_t j = 0; j < columns; ++j) {
    for (std::int64_t i = 0; i < b.rows(); ++i) b(i, j) = parts[static_cast<std::size_t>(j / share)](i, j % share);
  }
  return b;
}

// L L^H X = B, every rank holding its own columns of B.
template <class T, class Ranks>
Matrix<T> solve_many(Ranks& ranks, const Matrix<T>& l, const Matrix<T>& b, const Shape& shape) {
  const TileColumns layout = shape.layout();
  Arena measure;
  PotrsManyWorkspace<T>(measure, layout, shape.depth, shape.slots);
  auto shards = ranks.template matrix<T>(shape.n, layout.shard());
  auto x = ranks.template matrix<T>(shape.n, shard_of(b.columns(), shape.ranks));
  auto workspace = ranks.template matrix<std::byte>(measure.used(), 1);
  upload(shards, dealt(l, layout));
  upload(x, columns_for_each(b, shape.ranks));
  ranks.run([&](auto& engine) {
    Arena arena = arena_over(workspace.view(engine.rank()));
    PotrsManyWorkspace<T> w(arena, layout, shape.depth, shape.slots);
    PotrsMany<T, typename Ranks::Engine>(engine, layout, shape.depth, shards.view(engine.rank()), x.view(engine.rank()),
                                         w)
        .run();
  });
  return side_by_side(download(x, shape.ranks), b.columns());
}

// Deals shards in place with room for `staging` tiles, or undoes it.
template <class T, class Ranks>
std::vector<Matrix<T>> deal(Ranks& ranks, const std::vector<Matrix<T>>& shards, const TileColumns& layout,
                            std::int64_t staging, bool inverse) {
  const std::int64_t rows = shards[0].rows();
  auto a = ranks.template matrix<T>(rows, layout.shard());
  Arena measure;
  measure.take<T>(staging * rows * layout.tile());
  auto workspace = ranks.template matrix<std::byte>(measure.used(), 1);
  upload(a, shards);
  ranks.run([&](auto& engine) {
    redistribute(engine, layout, a.view(engine.rank()), arena_over(workspace.view(engine.rank())), inverse);
  });
  return download(a, layout.ranks());
}

template <class T>
struct Solution {
  std::vector<Matrix<T>> x;  // of each rank: all of X, or its columns
  std::vector<std::int32_t> info;
};

// A X = B by our backend, from undealt shards, with exactly `workspace_bytes`.
template <class T, class Ranks>
Solution<T> solve(Ranks& ranks, const Matrix<T>& a, const Matrix<T>& b, const Shape& shape, bool distributed_rhs,
                  std::int64_t workspace_bytes) {
  const TileColumns layout = shape.layout();
  const auto rhs = distributed_rhs ? columns_for_each(b, shape.ranks)
                                   : std::vector<Matrix<T>>(static_cast<std::size_t>(shape.ranks), b);
  auto shards = ranks.template matrix<T>(shape.n, layout.shard());
  auto x = ranks.template matrix<T>(shape.n, rhs[0].columns());
  auto status = ranks.template matrix<std::int32_t>(1, 1);
  auto workspace = ranks.template matrix<std::byte>(workspace_bytes, 1);
  upload(shards, in_blocks(a, layout));
  upload(x, rhs);
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    const CholeskySolve<T> problem{layout,       shape.depth,           shape.slots, distributed_rhs, shards.view(rank),
                                   x.view(rank), status.view(rank).data};
    TiledCholesky<T, typename Ranks::Engine>().potrs(engine, problem, arena_over(workspace.view(rank)));
  });
  Solution<T> solution{download(x, shape.ranks), {}};
  for (const auto& info : download(status, shape.ranks)) solution.info.push_back(info(0, 0));
  return solution;
}

template <class T, class Ranks>
Solution<T> solve(Ranks& ranks, const Matrix<T>& a, const Matrix<T>& b, const Shape& shape, bool distributed_rhs) {
  const std::int64_t columns = distributed_rhs ? shard_of(b.columns(), shape.ranks) : b.columns();
  return solve(
      ranks, a, b, shape, distributed_rhs,
      TiledPotrsWorkspace<T>(Arena(), shape.layout(), shape.depth, shape.slots, columns, distributed_rhs).bytes);
}

}  // namespace jaxmg::testing
