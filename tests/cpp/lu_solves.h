// LU factorisations, and solves with them, on any kind of ranks (see ranks.h), from matrices to matrices. A matrix here
// is M = A^T of the routines: P M = L U.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "algorithms/lu/getrf.h"
#include "algorithms/lu/getrs.h"
#include "algorithms/triangular/trsm_few.h"
#include "algorithms/triangular/trsm_many.h"
#include "core/larger.h"
#include "dealt.h"
#include "gtest/gtest.h"
#include "matrices.h"
#include "residuals.h"
#include "routines/gesv.h"
#include "routines/getrf.h"
#include "routines/getri.h"
#include "routines/getrs.h"
#include "solves.h"

namespace jaxmg::testing {

// A^T, A^H or A.
template <class T>
Matrix<T> turned(const Matrix<T>& a, Trans trans) {
  Matrix<T> b(a.columns(), a.rows());
  for (std::int64_t j = 0; j < a.columns(); ++j) {
    for (std::int64_t i = 0; i < a.rows(); ++i) {
      if (trans == Trans::none) {
        b(i, j) = a(i, j);
      } else {
        b(j, i) = trans == Trans::transpose ? a(i, j) : conjugate(a(i, j));
      }
    }
  }
  return b;
}

template <class T>
struct LuFactorization {
  Matrix<T> lu;
  std::vector<std::int32_t> pivots;  // from 0
  std::int32_t info;                 // 0 or the number of the first zero pivot
};

// The pivots of rank 0, once they are the same on every rank.
inline std::vector<std::int32_t> same_on_all(const std::vector<Matrix<std::int32_t>>& pivots) {
  for (const auto& other : pivots) EXPECT_EQ(other, pivots[0]);
  return {pivots[0].data(), pivots[0].data() + pivots[0].rows()};
}

// Panels are factored in pieces of at most `leaf` columns.
template <class T, class Ranks>
LuFactorization<T> factor_lu(Ranks& ranks, const Matrix<T>& m, const Shape& shape, std::int64_t leaf,
                             Arithmetic arithmetic = Arithmetic::full) {
  const TileColumns layout = shape.layout();
  Arena measure;
  GetrfWorkspace<T>(measure, layout, leaf, shape.depth, shape.slots, arithmetic);
  auto shards = ranks.template matrix<T>(shape.n, layout.shard());
  auto pivots = ranks.template matrix<std::int32_t>(shape.n, 1);
  auto infos = ranks.template matrix<std::int32_t>(1, 1);
  auto workspace = ranks.template matrix<std::byte>(measure.used(), 1);
  upload(shards, dealt(m, layout));
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    std::int32_t* const info = infos.view(rank).data;
    engine.set_info(Lane::panel, info, no_failure);
    engine.join();
    Arena arena = arena_over(workspace.view(rank));
    GetrfWorkspace<T> w(arena, layout, leaf, shape.depth, shape.slots, arithmetic);
    Getrf<T, typename Ranks::Engine>(engine, layout, shards.view(rank), pivots.view(rank).data, w, info).run();
  });
  std::int32_t first = no_failure;
  for (const auto& info : download(infos, shape.ranks)) first = std::min(first, info(0, 0));
  return {collected(download(shards, shape.ranks), layout), same_on_all(download(pivots, shape.ranks)),
          first == no_failure ? 0 : first};
}

// Solves with a factor. Returns what each rank has for X: all of it, or its columns.
template <class T, class Ranks>
std::vector<Matrix<T>> solve_lu(Ranks& ranks, const LuFactorization<T>& factor, const Matrix<T>& b, const Shape& shape,
                                Trans trans, bool distributed) {
  const TileColumns layout = shape.layout();
  const auto carve = [&](Arena& arena) {
    if (distributed) {
      TrsmManyWorkspace<T>(arena, layout, shape.depth, shape.slots);
    } else {
      TrsmFewWorkspace<T>(arena, layout, b.columns());
    }
  };
  Arena measure;
  measure.take<RowMoves>(shape.n);
  carve(measure);
  const auto rhs = on_ranks(b, shape.ranks, distributed);
  auto shards = ranks.template matrix<T>(shape.n, layout.shard());
  auto pivots = ranks.template matrix<std::int32_t>(shape.n, 1);
  auto x = ranks.template matrix<T>(shape.n, rhs[0].columns());
  auto workspace = ranks.template matrix<std::byte>(measure.used(), 1);
  upload(shards, dealt(factor.lu, layout));
  Matrix<std::int32_t> all(shape.n, 1);
  std::copy(factor.pivots.begin(), factor.pivots.end(), all.data());
  upload(pivots, std::vector<Matrix<std::int32_t>>(static_cast<std::size_t>(shape.ranks), all));
  upload(x, rhs);
  ranks.run([&](auto& engine) {
    using E = typename Ranks::Engine;
    const int rank = engine.rank();
    Arena arena = arena_over(workspace.view(rank));
    RowMoves* const moves = arena.take<RowMoves>(shape.n);
    const auto solve = [&](auto&& sweeps) {
      getrs(engine, shape.n, trans, pivots.view(rank).data, moves, sweeps, x.view(rank));
    };
    if (distributed) {
      TrsmManyWorkspace<T> w(arena, layout, shape.depth, shape.slots);
      solve(TrsmMany<T, E>(engine, layout, shape.depth, shards.view(rank), x.view(rank), w));
    } else {
      TrsmFewWorkspace<T> w(arena, layout, b.columns());
      solve(TrsmFew<T, E>(engine, layout, shards.view(rank), x.view(rank), w));
    }
  });
  return download(x, shape.ranks);
}

// The routines, from and to shards of the rows of A: columns of A^T.

template <class T>
struct DealtLu {
  std::vector<Matrix<T>> shards;
  std::vector<Matrix<std::int32_t>> pivots;  // of each rank
  std::vector<std::int32_t> info;
  std::vector<Matrix<T>> x;  // of gesv
};

// Makes matrices on the ranks, calls the routine with their views and the workspace, and downloads.
template <class T, class Ranks>
DealtLu<T> getrf(Ranks& ranks, const Matrix<T>& a, const CallOf<routines::Getrf, T>& call,
                 std::int64_t workspace_bytes) {
  const int size = static_cast<int>(call.problem.ranks);
  const TileColumns layout = call.problem.layout(call.plan.tile);
  auto shards = ranks.template matrix<T>(a.rows(), layout.shard());
  auto pivots = ranks.template matrix<std::int32_t>(a.rows(), 1);
  auto status = ranks.template matrix<std::int32_t>(1, 1);
  auto workspace = ranks.template matrix<std::byte>(workspace_bytes, 1);
  upload(shards, in_blocks(turned(a, Trans::transpose), layout));
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    call.run(engine, workspace.view(rank), shards.view(rank), pivots.view(rank), status.view(rank));
  });
  DealtLu<T> found{download(shards, size), download(pivots, size), {}, {}};
  for (const auto& info : download(status, size)) found.info.push_back(info(0, 0));
  return found;
}
template <class T, class Ranks>
DealtLu<T> getrf(Ranks& ranks, const Matrix<T>& a, const Shape& shape) {
  const CallOf<routines::Getrf, T> call(shape);
  return getrf(ranks, a, call, call.bytes());
}

template <class T, class Ranks>
DealtLu<T> gesv(Ranks& ranks, const Matrix<T>& a, const Matrix<T>& b, const CallOf<routines::Gesv, T>& call,
                std::int64_t workspace_bytes) {
  const int size = static_cast<int>(call.problem.ranks);
  const TileColumns layout = call.problem.layout(call.plan.tile);
  const auto rhs = on_ranks(b, size, call.plan.distributed_rhs);
  auto shards = ranks.template matrix<T>(a.rows(), layout.shard());
  auto x = ranks.template matrix<T>(b.rows(), rhs[0].columns());
  auto pivots = ranks.template matrix<std::int32_t>(a.rows(), 1);
  auto status = ranks.template matrix<std::int32_t>(1, 1);
  auto workspace = ranks.template matrix<std::byte>(workspace_bytes, 1);
  upload(shards, in_blocks(turned(a, Trans::transpose), layout));
  upload(x, rhs);
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    call.run(engine, workspace.view(rank), shards.view(rank), x.view(rank), pivots.view(rank), status.view(rank));
  });
  DealtLu<T> found{download(shards, size), download(pivots, size), {}, download(x, size)};
  for (const auto& info : download(status, size)) found.info.push_back(info(0, 0));
  return found;
}
template <class T, class Ranks>
DealtLu<T> gesv(Ranks& ranks, const Matrix<T>& a, const Matrix<T>& b, const Shape& shape, bool distributed) {
  const CallOf<routines::Gesv, T> call(shape, b.columns(), distributed);
  return gesv(ranks, a, b, call, call.bytes());
}

// Returns what each rank has for X: all of it, or its columns.
template <class T, class Ranks>
std::vector<Matrix<T>> getrs(Ranks& ranks, const DealtLu<T>& factor, const Matrix<T>& b,
                             const CallOf<routines::Getrs, T>& call, std::int64_t workspace_bytes) {
  const int size = static_cast<int>(call.problem.ranks);
  const auto rhs = on_ranks(b, size, call.plan.distributed_rhs);
  auto shards = ranks.template matrix<T>(factor.shards[0].rows(), factor.shards[0].columns());
  auto x = ranks.template matrix<T>(b.rows(), rhs[0].columns());
  auto pivots = ranks.template matrix<std::int32_t>(b.rows(), 1);
  auto workspace = ranks.template matrix<std::byte>(workspace_bytes, 1);
  upload(shards, factor.shards);
  upload(pivots, factor.pivots);
  upload(x, rhs);
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    call.run(engine, workspace.view(rank), x.view(rank), shards.view(rank), pivots.view(rank));
  });
  EXPECT_EQ(download(pivots, size), factor.pivots);
  return download(x, size);
}
template <class T, class Ranks>
std::vector<Matrix<T>> getrs(Ranks& ranks, const DealtLu<T>& factor, const Matrix<T>& b, const Shape& shape,
                             Trans trans, bool distributed) {
  CallOf<routines::Getrs, T> call(shape, b.columns(), distributed);
  call.problem.trans = trans;
  return getrs(ranks, factor, b, call, call.bytes());
}

// The inverse of A.
template <class T, class Ranks>
Matrix<T> getri(Ranks& ranks, const DealtLu<T>& factor, const CallOf<routines::Getri, T>& call,
                std::int64_t workspace_bytes) {
  const int size = static_cast<int>(call.problem.ranks);
  auto shards = ranks.template matrix<T>(factor.shards[0].rows(), factor.shards[0].columns());
  auto pivots = ranks.template matrix<std::int32_t>(factor.pivots[0].rows(), 1);
  auto workspace = ranks.template matrix<std::byte>(workspace_bytes, 1);
  upload(shards, factor.shards);
  upload(pivots, factor.pivots);
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    call.run(engine, workspace.view(rank), shards.view(rank), pivots.view(rank));
  });
  return turned(from_blocks(download(shards, size), call.problem.layout(call.plan.tile)), Trans::transpose);
}
template <class T, class Ranks>
Matrix<T> getri(Ranks& ranks, const DealtLu<T>& factor, const Shape& shape) {
  const CallOf<routines::Getri, T> call(shape);
  return getri(ranks, factor, call, call.bytes());
}

// What has become of rows 0, 1, ... after the interchanges.
inline std::vector<std::int64_t> permutation(const std::vector<std::int32_t>& pivots) {
  std::vector<std::int64_t> rows(pivots.size());
  std::iota(rows.begin(), rows.end(), std::int64_t{0});
  for (std::size_t i = 0; i < pivots.size(); ++i) std::swap(rows[i], rows[static_cast<std::size_t>(pivots[i])]);
  return rows;
}

template <class T>
Matrix<T> unit_lower_triangle(Matrix<T> a) {
  a = lower_triangle(a);
  for (std::int64_t i = 0; i < a.rows(); ++i) a(i, i) = T(1);
  return a;
}
template <class T>
Matrix<T> upper_triangle(Matrix<T> a) {
  for (std::int64_t j = 0; j < a.columns(); ++j) {
    for (std::int64_t i = j + 1; i < a.rows(); ++i) a(i, j) = T(0);
  }
  return a;
}

// ||P M - L U|| / (n eps ||M||). In exact analysis |P M - L U| <= n eps |L| |U|, and |L| <= 1 (sqrt(2) for complex
// numbers, whose pivots are chosen by |re| + |im|), so this is bounded by n times the growth of the elements of U
// (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., theorem 9.3); in practice it is far below 1.
template <class T>
double lu_error(const Matrix<T>& m, const LuFactorization<T>& found) {
  const auto rows = permutation(found.pivots);
  Matrix<Wide<T>> difference(m.rows(), m.columns());
  for (std::int64_t j = 0; j < m.columns(); ++j) {
    for (std::int64_t i = 0; i < m.rows(); ++i) difference(i, j) = m(rows[static_cast<std::size_t>(i)], j);
  }
  gemm<Wide<T>>(-1.0, widened(unit_lower_triangle(found.lu)), Op::none, widened(upper_triangle(found.lu)), difference);
  return frobenius(difference) / (n_eps<T>(m.rows()) * frobenius(m));
}

// LAPACK's factorisation.
template <class T>
LuFactorization<T> lapack_lu(const Matrix<T>& m) {
  LuFactorization<T> known{m, {}, 0};
  std::vector<int> pivots;
  known.info = lapack_getrf(known.lu, pivots);
  for (const int p : pivots) known.pivots.push_back(p - 1);
  return known;
}

// The largest modulus of an element of L below its diagonal.
template <class T>
double largest_multiplier(const Matrix<T>& lu) {
  double largest = 0;
  for (std::int64_t j = 0; j < lu.columns(); ++j) {
    for (std::int64_t i = j + 1; i < lu.rows(); ++i) {
      largest = larger_or_nan(largest, static_cast<double>(std::abs(lu(i, j))));
    }
  }
  return largest;
}

}  // namespace jaxmg::testing
