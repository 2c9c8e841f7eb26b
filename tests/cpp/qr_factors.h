// QR factorisations by the routines, on any kind of ranks (see ranks.h), from whole matrices to whole results.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <ostream>
#include <type_traits>
#include <utility>
#include <vector>

#include "algorithms/host/instances.h"
#include "core/larger.h"
#include "dealt.h"
#include "matrices.h"
#include "residuals.h"
#include "routines/geqrf.h"
#include "routines/orgqr.h"
#include "routines/ormqr.h"
#include "routines/rtrs.h"
#include "routines/tsqr.h"
#include "routines/upper.h"
#include "solves.h"

namespace jaxmg::testing {

// Layout and blocking of an m x n matrix.
struct QrShape {
  std::int64_t m, n;
  int ranks;
  std::int64_t tile, slots;

  TileColumns layout() const { return {m, n, shard_of(n, ranks), tile, ranks}; }
  std::int64_t reflectors() const { return std::min(m, n); }
  std::int64_t larger() const { return std::max(m, n); }

  friend std::ostream& operator<<(std::ostream& out, const QrShape& s) {
    return out << s.m << " x " << s.n << " on " << s.ranks << " ranks, tile " << s.tile << ", " << s.slots << " slots";
  }
};

// Square, tall and wide; single rows and columns; fewer columns than ranks; ragged tiles; a tile beyond one leaf.
template <class Ranks>
std::vector<QrShape> qr_shapes() {
  std::vector<QrShape> all;
  std::int64_t turn = 0;
  for (const int ranks : {1, 2, 3, 4, 8}) {
    if (!Ranks::available(ranks)) continue;
    for (const auto& [m, n] : std::vector<std::pair<std::int64_t, std::int64_t>>{
             {1, 1}, {1, 9}, {9, 1}, {5, 3}, {41, 41}, {64, 37}, {23, 60}, {130, 65}}) {
      for (const std::int64_t tile : {std::int64_t{1 + turn % 5}, shard_of(n, ranks)}) {
        all.push_back({m, n, ranks, tile, 1 + turn % 3});
        ++turn;
      }
    }
    all.push_back({150, 90 * ranks, ranks, 80, 2});
  }
  return all;
}
template <class Ranks>
std::vector<QrShape> few_qr_shapes() {
  std::vector<QrShape> few;
  for (const int ranks : {1, 2, 3, 4, 8}) {
    if (!Ranks::available(ranks)) continue;
    few.push_back({41, 41, ranks, 4, 2});
    few.push_back({70, 33, ranks, 3, 3});
    few.push_back({29, 50, ranks, 5, 1});
  }
  return few;
}

template <class R, class T>
CallOf<R, T> qr_call(const QrShape& shape, std::int64_t nrhs = 1, bool distributed = false) {
  CallOf<R, T> call(shape.n, shape.ranks, shape.tile);
  call.problem.m = shape.m;
  if constexpr (requires { call.plan.depth; }) {
    call.plan.depth = shape.tile;
    call.plan.slots = shape.slots;
  }
  if constexpr (requires { call.plan.distributed_rhs; }) {
    call.problem.nrhs = nrhs;
    call.plan.distributed_rhs = distributed;
  }
  return call;
}

// The factor on each rank.
template <class T>
struct DealtQr {
  std::vector<Matrix<T>> vectors, factors;
  std::vector<std::int32_t> info;
};

// By any backend.
template <class T, class R, class Ranks>
DealtQr<T> geqrf(Ranks& ranks, const Matrix<T>& a, const QrShape& shape, const CallOf<R, T>& call,
                 std::int64_t workspace_bytes) {
  const TileColumns layout = shape.layout();
  auto shards = ranks.template matrix<T>(shape.m, layout.shard());
  auto factors = ranks.template matrix<T>(call.plan.tile, layout.shard());
  auto status = ranks.template matrix<std::int32_t>(1, 1);
  auto workspace = ranks.template matrix<std::byte>(workspace_bytes, 1);
  upload(shards, in_blocks(a, layout));
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    call.run(engine, workspace.view(rank), shards.view(rank), factors.view(rank), status.view(rank));
  });
  DealtQr<T> found{download(shards, shape.ranks), download(factors, shape.ranks), {}};
  for (const auto& info : download(status, shape.ranks)) found.info.push_back(info(0, 0));
  return found;
}
template <class Ranks, class T>
DealtQr<T> geqrf(const Matrix<T>& a, const QrShape& shape) {
  Ranks ranks(shape.ranks);
  const auto call = qr_call<routines::Geqrf, T>(shape);
  return geqrf(ranks, a, shape, call, call.bytes());
}

// R, min(m, n) x n.
template <class T, class Ranks>
Matrix<T> upper(Ranks&& ranks, const DealtQr<T>& factor, const QrShape& shape) {
  const auto call = qr_call<routines::Upper, T>(shape);
  auto shards = ranks.template matrix<T>(shape.m, shape.layout().shard());
  auto r = ranks.template matrix<T>(shape.reflectors(), shape.layout().shard());
  upload(shards, factor.vectors);
  ranks.run([&](auto& engine) { call.run(engine, {}, shards.view(engine.rank()), r.view(engine.rank())); });
  return from_blocks(download(r, shape.ranks), shape.layout());
}

// The first min(m, n) columns of Q.
template <class T, class Ranks>
Matrix<T> orgqr(Ranks&& ranks, const DealtQr<T>& factor, const QrShape& shape) {
  const auto call = qr_call<routines::Orgqr, T>(shape);
  auto shards = ranks.template matrix<T>(shape.m, shape.layout().shard());
  auto factors = ranks.template matrix<T>(shape.tile, shape.layout().shard());
  auto workspace = ranks.template matrix<std::byte>(call.bytes(), 1);
  upload(shards, factor.vectors);
  upload(factors, factor.factors);
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    call.run(engine, workspace.view(rank), shards.view(rank), MatrixView<T>{}, factors.view(rank));
  });
  const auto all = from_blocks(download(shards, shape.ranks), shape.layout());
  Matrix<T> q(shape.m, shape.reflectors());
  std::copy_n(all.data(), q.rows() * q.columns(), q.data());
  return q;
}

// Q B or Q^H B, as each rank has it: all of it, or its columns.
template <class T, class Ranks>
std::vector<Matrix<T>> ormqr(Ranks&& ranks, const DealtQr<T>& factor, const Matrix<T>& b, const QrShape& shape,
                             bool adjoint, bool distributed) {
  auto call = qr_call<routines::Ormqr, T>(shape, b.columns(), distributed);
  call.problem.adjoint = adjoint;
  const auto columns = on_ranks(b, shape.ranks, distributed);
  auto shards = ranks.template matrix<T>(shape.m, shape.layout().shard());
  auto factors = ranks.template matrix<T>(shape.tile, shape.layout().shard());
  auto x = ranks.template matrix<T>(b.rows(), columns[0].columns());
  auto workspace = ranks.template matrix<std::byte>(call.bytes(), 1);
  upload(shards, factor.vectors);
  upload(factors, factor.factors);
  upload(x, columns);
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    call.run(engine, workspace.view(rank), x.view(rank), shards.view(rank), factors.view(rank));
  });
  return download(x, shape.ranks);
}

// R^-1 B or R^-H B, as each rank has it.
template <class T, class Ranks>
std::vector<Matrix<T>> rtrs(Ranks&& ranks, const DealtQr<T>& factor, const Matrix<T>& b, const QrShape& shape,
                            bool adjoint, bool distributed) {
  auto call = qr_call<routines::Rtrs, T>(shape, b.columns(), distributed);
  call.problem.adjoint = adjoint;
  return solve_with_factor(ranks, factor.vectors, b, call, call.bytes());
}

// Q and R of a tall matrix by rows.
template <class T>
struct TallQr {
  Matrix<T> q;
  std::vector<Matrix<T>> r;  // of each rank
};

template <class T, class Ranks>
TallQr<T> tsqr(Ranks&& ranks, const Matrix<T>& a, std::int64_t tile, std::int64_t piece, bool wants_q = true) {
  using E = typename std::remove_cvref_t<Ranks>::Engine;
  const std::int64_t m = a.rows(), n = a.columns(), shard = shard_of(m, ranks.size());
  const TallRows rows{m, n, shard, ranks.size(), piece};
  const TileColumns blocks{n, m, shard, shard, ranks.size()};
  Arena measure;
  TsqrWorkspace<T>(measure, rows, tile, 3);
  auto shards = ranks.template matrix<T>(n, shard), r = ranks.template matrix<T>(n, n);
  auto workspace = ranks.template matrix<std::byte>(measure.used(), 1);
  upload(shards, in_blocks(transposed(a), blocks));
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    Arena arena = arena_over(workspace.view(rank));
    TsqrWorkspace<T> w(arena, rows, tile, 3);
    Tsqr<T, E>(engine, rows, wants_q, shards.view(rank), r.view(rank), w).run();
  });
  TallQr<T> found{transposed(from_blocks(download(shards, ranks.size()), blocks)), {}};
  for (const auto& turned : download(r, ranks.size())) found.r.push_back(transposed(turned));
  return found;
}

// Least squares of a tall matrix: its factor; and, where R is that of a Gram matrix, the solution of the augmented
// system r + A x = w, A^H r = v.
template <class T>
Matrix<T> conjugated(Matrix<T> a) {
  for (std::int64_t i = 0; i < a.rows() * a.columns(); ++i) a.data()[i] = conjugate(a.data()[i]);
  return a;
}

// A matrix with `count` more columns, and the last columns of a matrix.
template <class T>
Matrix<T> widened_by(const Matrix<T>& a, std::int64_t count) {
  Matrix<T> b(a.rows(), a.columns() + count);
  std::copy_n(a.data(), a.rows() * a.columns(), b.data());
  return b;
}
template <class T>
Matrix<T> last_columns(const Matrix<T>& a, std::int64_t count) {
  Matrix<T> b(a.rows(), count);
  std::copy_n(a.data() + a.rows() * (a.columns() - count), a.rows() * count, b.data());
  return b;
}

// A matrix with singular values from 1 to 1 / condition.
template <class T>
Matrix<T> of_condition(std::int64_t m, std::int64_t n, double condition) {
  auto a = random_matrix<T>(m, n, 34);
  const auto mixed = random_matrix<T>(n, n, 35);
  Matrix<T> b(m, n);
  for (std::int64_t j = 0; j < n; ++j) {
    const auto size = static_cast<Real<T>>(
        std::pow(condition, -static_cast<double>(j) / static_cast<double>(std::max<std::int64_t>(n - 1, 1))));
    for (std::int64_t i = 0; i < m; ++i) a(i, j) *= size;
  }
  gemm<T>(T(1), a, Op::none, mixed, b);
  return b;
}

template <class T>
struct TallLeastSquares {
  TallQr<T> factor;  // without Q, A itself
  std::vector<int> kept;
  std::vector<Matrix<T>> x;
  Matrix<T> rest;
};

template <class T, class Ranks>
TallLeastSquares<T> tall_least_squares(Ranks&& ranks, const Matrix<T>& a, const Matrix<T>& w, const Matrix<T>& v,
                                       std::int64_t tile, std::int64_t piece) {
  using E = typename std::remove_cvref_t<Ranks>::Engine;
  const std::int64_t m = a.rows(), n = a.columns(), k = w.columns(), shard = shard_of(m, ranks.size());
  const TallRows rows{m, n, shard, ranks.size(), piece};
  const TileColumns blocks{n, m, shard, shard, ranks.size()}, sides{k, m, shard, shard, ranks.size()};
  Arena measure, small;
  TsqrWorkspace<T>(measure, rows, tile, 3);
  GramTrialWorkspace<T>(measure, rows, 0);
  SeminormalWorkspace<T>(small, rows, k);
  auto shards = ranks.template matrix<T>(n, shard), q = ranks.template matrix<T>(n, shard);
  // A call of the CUDA engine has at most 8 buffers: w and the residual share one, and v and x.
  auto r = ranks.template matrix<T>(n, n), tall = ranks.template matrix<T>(shard, 2 * k);
  auto small_sides = ranks.template matrix<T>(n, 2 * k);
  auto workspace = ranks.template matrix<std::byte>(std::max(measure.used(), small.used()), 1);
  upload(shards, in_blocks(transposed(a), blocks));
  std::vector<Matrix<T>> parts, replicas;
  for (const auto& part : in_blocks(transposed(conjugated(w)), sides)) {
    parts.push_back(widened_by(transposed(part), k));
    replicas.push_back(widened_by(conjugated(v), k));
  }
  upload(tall, parts);
  upload(small_sides, replicas);
  TallLeastSquares<T> found;
  found.kept.resize(static_cast<std::size_t>(ranks.size()));
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    Arena arena = arena_over(workspace.view(rank));
    TsqrWorkspace<T> of_factor(arena, rows, tile, 3);
    GramTrialWorkspace<T> trial(arena, rows, 0);
    Tsqr<T, E> tsqr(engine, rows, true, q.view(rank), r.view(rank), of_factor);
    Steps steps = steps_of<Real<T>>();
    const bool kept = tsqr.run_for_least_squares(shards.view(rank), MatrixView<T>{nullptr, shard, 0, 1}, trial, steps);
    found.kept[static_cast<std::size_t>(rank)] = kept;
    if (!kept) return;
    tsqr.copy_sufficient();
    Arena again = arena_over(workspace.view(rank));
    SeminormalWorkspace<T> of_solve(again, rows, k);
    const auto of_rank = tall.view(rank), of_all = small_sides.view(rank);
    Seminormal<T, E>(engine, rows, shards.view(rank), r.view(rank), of_solve)
        .solve(of_rank.block(0, 0, shard, k), of_all.block(0, 0, n, k), of_all.block(0, k, n, k),
               of_rank.block(0, k, shard, k));
  });
  found.factor.q = transposed(from_blocks(download(found.kept[0] ? shards : q, ranks.size()), blocks));
  for (const auto& turned : download(r, ranks.size())) found.factor.r.push_back(transposed(turned));
  for (const auto& both : download(small_sides, ranks.size())) found.x.push_back(conjugated(last_columns(both, k)));
  parts.clear();
  for (const auto& both : download(tall, ranks.size())) parts.push_back(transposed(last_columns(both, k)));
  found.rest = conjugated(transposed(from_blocks(parts, sides)));
  return found;
}

template <class T>
struct SquaredNorms {
  std::vector<Matrix<T>> x;
  std::vector<std::vector<Real<T>>> squares;
};

// Least squares of a tall matrix, by getsls.
template <class T, class Ranks>
SquaredNorms<T> solve_tall(Ranks&& ranks, const Matrix<T>& a, const Matrix<T>& w, std::int64_t tile,
                           std::int64_t piece) {
  using E = typename std::remove_cvref_t<Ranks>::Engine;
  const std::int64_t m = a.rows(), n = a.columns(), k = w.columns(), shard = shard_of(m, ranks.size());
  const TallRows rows{m, n, shard, ranks.size(), piece};
  const TileColumns blocks{n, m, shard, shard, ranks.size()}, sides{k, m, shard, shard, ranks.size()};
  Arena measure;
  GetslsWorkspace<T>(measure, rows, k, tile, 3);
  auto shards = ranks.template matrix<T>(n, shard), right = ranks.template matrix<T>(shard, k);
  auto x = ranks.template matrix<T>(n, k);
  auto squares = ranks.template matrix<Real<T>>(k, 1);
  auto workspace = ranks.template matrix<std::byte>(measure.used(), 1);
  upload(shards, in_blocks(transposed(a), blocks));
  std::vector<Matrix<T>> parts;
  for (const auto& part : in_blocks(transposed(conjugated(w)), sides)) parts.push_back(transposed(part));
  upload(right, parts);
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    Arena arena = arena_over(workspace.view(rank));
    GetslsWorkspace<T> memory(arena, rows, k, tile, 3);
    Getsls<T, E>(engine, rows, shards.view(rank), memory).run(right.view(rank), x.view(rank), squares.view(rank).data);
  });
  EXPECT_EQ(from_blocks(download(shards, ranks.size()), blocks), transposed(a)) << "A has changed";
  SquaredNorms<T> found;
  for (const auto& conjugate : download(x, ranks.size())) found.x.push_back(conjugated(conjugate));
  for (const auto& of_rank : download(squares, ranks.size())) {
    found.squares.emplace_back(of_rank.data(), of_rank.data() + k);
  }
  return found;
}

template <class T>
Matrix<T> adjoint(const Matrix<T>& a) {
  Matrix<T> b(a.columns(), a.rows());
  for (std::int64_t j = 0; j < a.columns(); ++j) {
    for (std::int64_t i = 0; i < a.rows(); ++i) b(j, i) = conjugate(a(i, j));
  }
  return b;
}

// The errors of r + A x = w and A^H r = v, for the largest of the right-hand sides, relative to n eps and to the norms
// of the terms that are added: by a backward stable method, a small number.
template <class T>
double augmented_error(const Matrix<T>& a, const Matrix<T>& w, const Matrix<T>& v, const Matrix<T>& rest,
                       const Matrix<T>& x) {
  const std::int64_t m = a.rows(), n = a.columns();
  const double norm = frobenius(a);
  double worst = 0;
  for (std::int64_t k = 0; k < w.columns(); ++k) {
    double of_w = 0, of_v = 0, of_x = 0, first = 0, second = 0;
    for (std::int64_t i = 0; i < m; ++i) {
      Wide<T> sum = Wide<T>(w(i, k)) - Wide<T>(rest(i, k));
      for (std::int64_t j = 0; j < n; ++j) sum -= Wide<T>(a(i, j)) * Wide<T>(x(j, k));
      first += std::norm(sum);
      of_w += std::norm(w(i, k));
    }
    for (std::int64_t j = 0; j < n; ++j) {
      Wide<T> sum = -Wide<T>(v(j, k));
      for (std::int64_t i = 0; i < m; ++i) sum += conjugate(Wide<T>(a(i, j))) * Wide<T>(rest(i, k));
      second += std::norm(sum);
      of_v += std::norm(v(j, k));
      of_x += std::norm(x(j, k));
    }
    const double terms = std::sqrt(of_w) + norm * std::sqrt(of_x);
    if (terms == 0 && of_v == 0 && first + second == 0) continue;
    const double error = larger_or_nan(std::sqrt(first) / terms, std::sqrt(second) / (norm * terms + std::sqrt(of_v)));
    worst = larger_or_nan(worst, error);
  }
  return worst / n_eps<T>(n);
}

// The errors of least squares: of A^H (w - A x) = 0, as above, and of the squared norm of w - A x, where a residual has
// rounding errors of the size of the terms that are added. For the largest of the right-hand sides.
template <class T>
double least_squares_error(const Matrix<T>& a, const Matrix<T>& w, const Matrix<T>& x,
                           const std::vector<Real<T>>& squares) {
  const double eps = n_eps<T>(a.columns());
  double worst = 0;
  Matrix<Wide<T>> rest = widened(w);
  gemm<Wide<T>>(-1.0, widened(a), Op::none, widened(x), rest);
  for (std::int64_t k = 0; k < w.columns(); ++k) {
    double of_rest = 0, of_w = 0, of_x = 0, of_products = 0;
    for (std::int64_t i = 0; i < a.rows(); ++i) {
      of_rest += std::norm(rest(i, k));
      of_w += std::norm(w(i, k));
    }
    for (std::int64_t j = 0; j < a.columns(); ++j) {
      Wide<T> sum{};
      for (std::int64_t i = 0; i < a.rows(); ++i) sum += conjugate(Wide<T>(a(i, j))) * rest(i, k);
      of_products += std::norm(sum);
      of_x += std::norm(x(j, k));
    }
    const double norm = frobenius(a), terms = std::sqrt(of_w) + norm * std::sqrt(of_x);
    if (terms == 0 && squares[static_cast<std::size_t>(k)] == 0) continue;
    worst = larger_or_nan(worst, std::sqrt(of_products) / (norm * terms) / eps);
    const double error = std::abs(of_rest - static_cast<double>(squares[static_cast<std::size_t>(k)]));
    worst = larger_or_nan(worst, error / (eps * terms * (std::sqrt(of_rest) + eps * terms)));
  }
  return worst;
}

// ||A - Q R|| / (max(m, n) eps ||A||), LAPACK's test ratio.
template <class T>
double qr_error(const Matrix<T>& a, const Matrix<T>& q, const Matrix<T>& r) {
  auto difference = widened(a);
  gemm<Wide<T>>(-1.0, widened(q), Op::none, widened(r), difference);
  const double norm = frobenius(a);
  return frobenius(difference) / (n_eps<T>(std::max(a.rows(), a.columns())) * (norm > 0 ? norm : 1));
}

// ||Q^H Q - I|| / (max(m, n) eps).
template <class T>
double orthogonality(const Matrix<T>& q, std::int64_t larger) {
  const auto wide = widened(q), turned = adjoint(wide);
  Matrix<Wide<T>> gram(q.columns(), q.columns());
  for (std::int64_t i = 0; i < q.columns(); ++i) gram(i, i) = -1;
  gemm<Wide<T>>(1.0, turned, Op::none, wide, gram);
  return frobenius(gram) / n_eps<T>(larger);
}

}  // namespace jaxmg::testing
