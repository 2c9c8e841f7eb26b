// Factorisations and solves on any kind of ranks (see ranks.h), from whole matrices to whole results.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ostream>
#include <tuple>
#include <vector>

#include "algorithms/cholesky/potrf.h"
#include "algorithms/cholesky/potrs.h"
#include "algorithms/host/instances.h"
#include "algorithms/moves/redistribute.h"
#include "dealt.h"
#include "gtest/gtest.h"
#include "matrices.h"
#include "planner/plan.h"
#include "routines/diagonal.h"
#include "routines/lower.h"
#include "routines/on_one_rank.h"
#include "routines/posv.h"
#include "routines/potrf.h"
#include "routines/potri.h"
#include "routines/potrs.h"

namespace jaxmg::testing {

// Layout and blocking of a matrix of order n.
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

// A call of a routine, as served by some backend, on matrices of scalar type T.
template <class R, class T>
struct CallOf {
  typename R::Problem problem{};
  typename R::Plan plan{};

  CallOf(std::int64_t n, int ranks, std::int64_t tile) {
    problem.type = ScalarTraits<T>::type;
    problem.ranks = ranks;
    problem.n = n;
    plan.tile = tile;
  }
  explicit CallOf(const Shape& s) : CallOf(s.n, s.ranks, s.tile) {
    plan.depth = s.depth;
    plan.slots = s.slots;
  }
  CallOf(const Shape& s, std::int64_t nrhs, bool distributed_rhs) : CallOf(s) {
    problem.nrhs = nrhs;
    plan.distributed_rhs = distributed_rhs;
  }

  std::int64_t bytes() const { return carved_bytes<R, T>(problem, plan); }

  // Runs the routine on the views of its signature.
  template <class E, class... Views>
  void run(E& engine, MatrixView<std::byte> workspace, Views... views) const {
    run_planned<T, R>(engine, problem, plan, arena_over(workspace), views...);
  }
};

template <class T>
struct Factorization {
  Matrix<T> l;
  std::int32_t info;         // 0 or the order of the first failing minor
  std::vector<Matrix<T>> y;  // of each rank
};

// A = L L^H and, along with it, L Y = B, all ranks holding all of B.
template <class T, class Ranks>
Factorization<T> factor(Ranks& ranks, const Matrix<T>& a, const Shape& shape, const Matrix<T>& b = {},
                        Arithmetic arithmetic = Arithmetic::full) {
  const TileColumns layout = shape.layout();
  Arena measure;
  PotrfWorkspace<T>(measure, layout, shape.depth, shape.slots, b.columns(), arithmetic);
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
    PotrfWorkspace<T> w(arena, layout, shape.depth, shape.slots, b.columns(), arithmetic);
    Potrf<T, typename Ranks::Engine>(engine, layout, shape.depth, shards.view(rank), y.view(rank), w, info).run();
  });
  std::int32_t first = no_failure;
  for (const auto& info : download(infos, shape.ranks)) first = std::min(first, info(0, 0));
  return {lower_triangle(collected(download(shards, shape.ranks), layout)), first == no_failure ? 0 : first,
          download(y, shape.ranks)};
}

// L L^H X = B, all ranks holding all of B. Returns each rank's X.
template <class T, class Ranks>
std::vector<Matrix<T>> solve_few(Ranks& ranks, const Matrix<T>& l, const Matrix<T>& b, const Shape& shape) {
  const TileColumns layout = shape.layout();
  Arena measure;
  TrsmFewWorkspace<T>(measure, layout, b.columns());
  auto shards = ranks.template matrix<T>(shape.n, layout.shard());
  auto x = ranks.template matrix<T>(shape.n, b.columns());
  auto workspace = ranks.template matrix<std::byte>(measure.used(), 1);
  upload(shards, dealt(l, layout));
  upload(x, std::vector<Matrix<T>>(static_cast<std::size_t>(shape.ranks), b));
  ranks.run([&](auto& engine) {
    Arena arena = arena_over(workspace.view(engine.rank()));
    TrsmFewWorkspace<T> w(arena, layout, b.columns());
    potrs(Sweeps::both,
          TrsmFew<T, typename Ranks::Engine>(engine, layout, shards.view(engine.rank()), x.view(engine.rank()), w));
  });
  return download(x, shape.ranks);
}

// Splits B into equal parts for the ranks, padded with zeros, and joins them.
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
  TrsmManyWorkspace<T>(measure, layout, shape.depth, shape.slots);
  auto shards = ranks.template matrix<T>(shape.n, layout.shard());
  auto x = ranks.template matrix<T>(shape.n, shard_of(b.columns(), shape.ranks));
  auto workspace = ranks.template matrix<std::byte>(measure.used(), 1);
  upload(shards, dealt(l, layout));
  upload(x, columns_for_each(b, shape.ranks));
  ranks.run([&](auto& engine) {
    Arena arena = arena_over(workspace.view(engine.rank()));
    TrsmManyWorkspace<T> w(arena, layout, shape.depth, shape.slots);
    potrs(Sweeps::both, TrsmMany<T, typename Ranks::Engine>(engine, layout, shape.depth, shards.view(engine.rank()),
                                                            x.view(engine.rank()), w));
  });
  return side_by_side(download(x, shape.ranks), b.columns());
}

// Deals shards in place with `staging` staging tiles, or undoes it.
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

// The operand B of each rank: its own columns, or all.
template <class T>
std::vector<Matrix<T>> on_ranks(const Matrix<T>& b, int ranks, bool distributed) {
  return distributed ? columns_for_each(b, ranks) : std::vector<Matrix<T>>(static_cast<std::size_t>(ranks), b);
}

// Solves A X = B with R, posv or a backend's version of it, from `shards`, in exactly `workspace_bytes`.
template <class R, class T, class Ranks>
Solution<T> solve(Ranks& ranks, const std::vector<Matrix<T>>& from, const Matrix<T>& b, const CallOf<R, T>& call,
                  std::int64_t workspace_bytes) {
  const int size = static_cast<int>(call.problem.ranks);
  const auto rhs = on_ranks(b, size, call.plan.distributed_rhs);
  auto shards = ranks.template matrix<T>(from[0].rows(), from[0].columns());
  auto x = ranks.template matrix<T>(b.rows(), rhs[0].columns());
  auto status = ranks.template matrix<std::int32_t>(1, 1);
  auto workspace = ranks.template matrix<std::byte>(workspace_bytes, 1);
  upload(shards, from);
  upload(x, rhs);
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    call.run(engine, workspace.view(rank), shards.view(rank), x.view(rank), status.view(rank));
  });
  Solution<T> solution{download(x, size), {}};
  for (const auto& info : download(status, size)) solution.info.push_back(info(0, 0));
  return solution;
}

template <class T, class Ranks>
Solution<T> solve(Ranks& ranks, const Matrix<T>& a, const Matrix<T>& b, const Shape& shape, bool distributed_rhs,
                  std::int64_t workspace_bytes) {
  const CallOf<routines::Posv, T> call(shape, b.columns(), distributed_rhs);
  return solve(ranks, in_blocks(a, shape.layout()), b, call, workspace_bytes);
}

template <class T, class Ranks>
Solution<T> solve(Ranks& ranks, const Matrix<T>& a, const Matrix<T>& b, const Shape& shape, bool distributed_rhs) {
  return solve(ranks, a, b, shape, distributed_rhs,
               CallOf<routines::Posv, T>(shape, b.columns(), distributed_rhs).bytes());
}

// Shards after a routine whose only operand they are, and every rank's status (initially -1).
template <class T>
struct OnShards {
  std::vector<Matrix<T>> shards;
  std::vector<std::int32_t> status;
};
template <class R, class T, class Ranks>
OnShards<T> on_shards(Ranks& ranks, const std::vector<Matrix<T>>& from, const CallOf<R, T>& call,
                      std::int64_t workspace_bytes) {
  const int size = static_cast<int>(call.problem.ranks);
  auto shards = ranks.template matrix<T>(from[0].rows(), from[0].columns());
  auto status = ranks.template matrix<std::int32_t>(1, 1);
  auto workspace = ranks.template matrix<std::byte>(workspace_bytes, 1);
  upload(shards, from);
  upload(status, std::vector<Matrix<std::int32_t>>(static_cast<std::size_t>(size), {1, 1, -1}));
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    if constexpr (std::tuple_size_v<typename R::Buffers::template On<T>> == 2) {
      call.run(engine, workspace.view(rank), shards.view(rank), status.view(rank));
    } else {
      call.run(engine, workspace.view(rank), shards.view(rank));
    }
  });
  OnShards<T> result{download(shards, size), {}};
  for (const auto& info : download(status, size)) result.status.push_back(info(0, 0));
  return result;
}

// From undealt shards to a dealt factor.
template <class T, class Ranks>
OnShards<T> make_factor(Ranks& ranks, const Matrix<T>& a, const Shape& shape, std::int64_t workspace_bytes) {
  const CallOf<routines::Potrf, T> call(shape);
  return on_shards(ranks, in_blocks(a, shape.layout()), call, workspace_bytes);
}
template <class T, class Ranks>
OnShards<T> make_factor(Ranks& ranks, const Matrix<T>& a, const Shape& shape) {
  return make_factor(ranks, a, shape, CallOf<routines::Potrf, T>(shape).bytes());
}

// From a dealt factor to the inverse, in undealt shards.
template <class T, class Ranks>
std::vector<Matrix<T>> invert(Ranks& ranks, const std::vector<Matrix<T>>& factor, const Shape& shape,
                              std::int64_t workspace_bytes) {
  return on_shards(ranks, factor, CallOf<routines::Potri, T>(shape), workspace_bytes).shards;
}
template <class T, class Ranks>
std::vector<Matrix<T>> invert(Ranks& ranks, const std::vector<Matrix<T>>& factor, const Shape& shape) {
  return invert(ranks, factor, shape, CallOf<routines::Potri, T>(shape).bytes());
}

// From a dealt factor to the rows of L as undealt columns.
template <class T, class Ranks>
std::vector<Matrix<T>> rows_of_factor(Ranks& ranks, const std::vector<Matrix<T>>& factor, const Shape& shape,
                                      std::int64_t workspace_bytes) {
  return on_shards(ranks, factor, CallOf<routines::Lower, T>(shape), workspace_bytes).shards;
}
template <class T, class Ranks>
std::vector<Matrix<T>> rows_of_factor(Ranks& ranks, const std::vector<Matrix<T>>& factor, const Shape& shape) {
  return rows_of_factor(ranks, factor, shape, CallOf<routines::Lower, T>(shape).bytes());
}

// The diagonal of L on every rank.
template <class T, class Ranks>
std::vector<Matrix<T>> diagonal_of_factor(Ranks& ranks, const std::vector<Matrix<T>>& factor, const Shape& shape) {
  const CallOf<routines::Diagonal, T> call(shape);
  auto shards = ranks.template matrix<T>(shape.n, shape.layout().shard());
  auto diagonal = ranks.template matrix<T>(shape.n, 1);
  upload(shards, factor);
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    call.run(engine, {}, shards.view(rank), diagonal.view(rank));
  });
  return download(diagonal, shape.ranks);
}

// Solves systems with a dealt factor by R, potrs or a backend's version of it. Returns each rank's X: all columns, or
// its own.
template <class R, class T, class Ranks>
std::vector<Matrix<T>> solve_with_factor(Ranks& ranks, const std::vector<Matrix<T>>& factor, const Matrix<T>& b,
                                         const CallOf<R, T>& call, std::int64_t workspace_bytes) {
  const int size = static_cast<int>(call.problem.ranks);
  const auto rhs = on_ranks(b, size, call.plan.distributed_rhs);
  auto shards = ranks.template matrix<T>(factor[0].rows(), factor[0].columns());
  auto x = ranks.template matrix<T>(b.rows(), rhs[0].columns());
  auto workspace = ranks.template matrix<std::byte>(workspace_bytes, 1);
  upload(shards, factor);
  upload(x, rhs);
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    call.run(engine, workspace.view(rank), x.view(rank), shards.view(rank));
  });
  for (int r = 0; r < size; ++r) {
    const Matrix<T> after = shards.download(r), &before = factor[static_cast<std::size_t>(r)];
    const auto bytes = static_cast<std::size_t>(before.rows() * before.columns()) * sizeof(T);
    EXPECT_EQ(std::memcmp(after.data(), before.data(), bytes), 0) << "the factor, an input, has changed";
  }
  return download(x, size);
}
template <class T, class Ranks>
std::vector<Matrix<T>> solve_with_factor(Ranks& ranks, const std::vector<Matrix<T>>& factor, const Matrix<T>& b,
                                         const Shape& shape, Sweeps sweeps, bool distributed_rhs,
                                         std::int64_t workspace_bytes) {
  CallOf<routines::Potrs, T> call(shape, b.columns(), distributed_rhs);
  call.problem.sweeps = sweeps;
  return solve_with_factor(ranks, factor, b, call, workspace_bytes);
}
template <class T, class Ranks>
std::vector<Matrix<T>> solve_with_factor(Ranks& ranks, const std::vector<Matrix<T>>& factor, const Matrix<T>& b,
                                         const Shape& shape, Sweeps sweeps, bool distributed_rhs) {
  return solve_with_factor(ranks, factor, b, shape, sweeps, distributed_rhs,
                           CallOf<routines::Potrs, T>(shape, b.columns(), distributed_rhs).bytes());
}

}  // namespace jaxmg::testing
