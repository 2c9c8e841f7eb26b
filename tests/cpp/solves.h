// Factorisations and solves on any kind of ranks (see ranks.h), from matrices to matrices.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <vector>

#include "algorithms/cholesky/potrf.h"
#include "algorithms/cholesky/potrs_few.h"
#include "algorithms/cholesky/potrs_many.h"
#include "algorithms/moves/redistribute.h"
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

template <class T>
DealtMatrix<T> dealt_matrix(const Shape& shape, MatrixView<T> shard) {
  return {shape.layout(), shape.depth, shape.slots, shard};
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
    TiledCholesky<T, typename Ranks::Engine>().posv(engine, dealt_matrix(shape, shards.view(rank)),
                                                    {x.view(rank), distributed_rhs}, status.view(rank).data,
                                                    arena_over(workspace.view(rank)));
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
      PosvStages<T>(Arena(), shape.layout(), shape.depth, shape.slots, columns, distributed_rhs).memory.bytes());
}

// A routine of the backend that works on the shards alone: body(backend, engine, matrix, status, workspace). Returns
// the shards and, of every rank, what it left in the status (which starts as -1).
template <class T>
struct OnShards {
  std::vector<Matrix<T>> shards;
  std::vector<std::int32_t> status;
};
template <class T, class Ranks, class Body>
OnShards<T> on_shards(Ranks& ranks, const std::vector<Matrix<T>>& from, const Shape& shape,
                      std::int64_t workspace_bytes, Body&& body) {
  auto shards = ranks.template matrix<T>(shape.n, shape.layout().shard());
  auto status = ranks.template matrix<std::int32_t>(1, 1);
  auto workspace = ranks.template matrix<std::byte>(workspace_bytes, 1);
  upload(shards, from);
  upload(status, std::vector<Matrix<std::int32_t>>(static_cast<std::size_t>(shape.ranks), {1, 1, -1}));
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    TiledCholesky<T, typename Ranks::Engine> backend;
    body(backend, engine, dealt_matrix(shape, shards.view(rank)), status.view(rank).data,
         arena_over(workspace.view(rank)));
  });
  OnShards<T> result{download(shards, shape.ranks), {}};
  for (const auto& info : download(status, shape.ranks)) result.status.push_back(info(0, 0));
  return result;
}

// From undealt shards to a dealt factor.
template <class T, class Ranks>
OnShards<T> make_factor(Ranks& ranks, const Matrix<T>& a, const Shape& shape, std::int64_t workspace_bytes) {
  return on_shards(ranks, in_blocks(a, shape.layout()), shape, workspace_bytes,
                   [](auto& backend, auto& engine, const auto& matrix, std::int32_t* status, Arena workspace) {
                     backend.potrf(engine, matrix, status, workspace);
                   });
}
template <class T, class Ranks>
OnShards<T> make_factor(Ranks& ranks, const Matrix<T>& a, const Shape& shape) {
  return make_factor(ranks, a, shape, PotrfStages<T>(Arena(), shape.layout(), shape.depth, shape.slots).memory.bytes());
}

// From a dealt factor to the inverse, in undealt shards.
template <class T, class Ranks>
std::vector<Matrix<T>> invert(Ranks& ranks, const std::vector<Matrix<T>>& factor, const Shape& shape,
                              std::int64_t workspace_bytes) {
  return on_shards(ranks, factor, shape, workspace_bytes,
                   [](auto& backend, auto& engine, const auto& matrix, std::int32_t*, Arena workspace) {
                     backend.potri(engine, matrix, workspace);
                   })
      .shards;
}
template <class T, class Ranks>
std::vector<Matrix<T>> invert(Ranks& ranks, const std::vector<Matrix<T>>& factor, const Shape& shape) {
  return invert(ranks, factor, shape, PotriStages<T>(Arena(), shape.layout(), shape.depth, shape.slots).memory.bytes());
}

// From a dealt factor to the rows of L as undealt columns.
template <class T, class Ranks>
std::vector<Matrix<T>> rows_of_factor(Ranks& ranks, const std::vector<Matrix<T>>& factor, const Shape& shape,
                                      std::int64_t workspace_bytes) {
  return on_shards(ranks, factor, shape, workspace_bytes,
                   [](auto& backend, auto& engine, const auto& matrix, std::int32_t*, Arena workspace) {
                     backend.lower(engine, matrix, workspace);
                   })
      .shards;
}
template <class T, class Ranks>
std::vector<Matrix<T>> rows_of_factor(Ranks& ranks, const std::vector<Matrix<T>>& factor, const Shape& shape) {
  return rows_of_factor(ranks, factor, shape,
                        LowerStages<T>(Arena(), shape.layout(), shape.depth, shape.slots).memory.bytes());
}

// The diagonal of L as every rank has it.
template <class T, class Ranks>
std::vector<Matrix<T>> diagonal_of_factor(Ranks& ranks, const std::vector<Matrix<T>>& factor, const Shape& shape) {
  auto shards = ranks.template matrix<T>(shape.n, shape.layout().shard());
  auto diagonal = ranks.template matrix<T>(shape.n, 1);
  upload(shards, factor);
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    TiledCholesky<T, typename Ranks::Engine>().diagonal(engine, dealt_matrix(shape, shards.view(rank)),
                                                        diagonal.view(rank));
  });
  return download(diagonal, shape.ranks);
}

// Systems with a dealt factor. Returns what each rank has for X: all of it, or its columns.
template <class T, class Ranks>
std::vector<Matrix<T>> solve_with_factor(Ranks& ranks, const std::vector<Matrix<T>>& factor, const Matrix<T>& b,
                                         const Shape& shape, Sweeps sweeps, bool distributed_rhs,
                                         std::int64_t workspace_bytes) {
  const auto rhs = distributed_rhs ? columns_for_each(b, shape.ranks)
                                   : std::vector<Matrix<T>>(static_cast<std::size_t>(shape.ranks), b);
  auto shards = ranks.template matrix<T>(shape.n, shape.layout().shard());
  auto x = ranks.template matrix<T>(shape.n, rhs[0].columns());
  auto workspace = ranks.template matrix<std::byte>(workspace_bytes, 1);
  upload(shards, factor);
  upload(x, rhs);
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    TiledCholesky<T, typename Ranks::Engine>().potrs(engine, dealt_matrix(shape, shards.view(rank)),
                                                     {x.view(rank), distributed_rhs}, sweeps,
                                                     arena_over(workspace.view(rank)));
  });
  return download(x, shape.ranks);
}
template <class T, class Ranks>
std::vector<Matrix<T>> solve_with_factor(Ranks& ranks, const std::vector<Matrix<T>>& factor, const Matrix<T>& b,
                                         const Shape& shape, Sweeps sweeps, bool distributed_rhs) {
  const std::int64_t columns = distributed_rhs ? shard_of(b.columns(), shape.ranks) : b.columns();
  return solve_with_factor(
      ranks, factor, b, shape, sweeps, distributed_rhs,
      PotrsStages<T>(Arena(), shape.layout(), shape.depth, shape.slots, columns, distributed_rhs).memory.bytes());
}

}  // namespace jaxmg::testing
