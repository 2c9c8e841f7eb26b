// Singular value and polar decompositions on any kind of ranks (see ranks.h), from whole matrices to whole results.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "eigenproblems.h"
#include "matrices.h"
#include "routines/gesvd.h"
#include "routines/polar.h"
#include "solves.h"

namespace jaxmg::testing {

template <class T>
struct Singular {
  std::vector<Matrix<Real<T>>> s;  // of each rank
  Matrix<T> u, v;                  // left and right singular vectors
  std::vector<std::int32_t> status;
};

template <class T>
CallOf<routines::Gesvd, T> gesvd_call(std::int64_t n, int ranks, std::int64_t tile, std::int64_t b, bool vectors) {
  CallOf<routines::Gesvd, T> call(n, ranks, tile);
  call.problem.vectors = vectors ? n : 0;
  call.plan.depth = 2 * tile;
  call.plan.slots = 2;
  call.plan.largest_potrf = ranks == 1 ? n : call.plan.depth;
  call.plan.blocking = eigen_shape(n, ranks, tile, b, 1).blocking;
  call.plan.values_by_vectors = !vectors;
  return call;
}

// Singular values and vectors of M by any backend, in exactly the workspace that is planned.
template <class T, class R, class Ranks>
Singular<T> decompose(Ranks& ranks, const Matrix<T>& m, const CallOf<R, T>& call, std::int64_t workspace_bytes) {
  const int size = static_cast<int>(call.problem.ranks);
  const std::int64_t n = call.problem.n, shard = shard_of(n, size), share = call.problem.vectors > 0 ? shard : 0;
  auto shards = ranks.template matrix<T>(n, shard);
  auto s = ranks.template matrix<Real<T>>(n, 1);
  auto right = ranks.template matrix<T>(n, share), left = ranks.template matrix<T>(n, share);
  auto status = ranks.template matrix<std::int32_t>(1, 1);
  auto workspace = ranks.template matrix<std::byte>(workspace_bytes, 1);
  upload(shards, in_blocks(m, TileColumns(n, shard, std::min(shard, call.plan.tile), size)));
  ranks.run([&](auto& engine) {
    const int r = engine.rank();
    const MatrixView<T> own = call.problem.as_columns ? rows_of_columns(right.view(r)) : right.view(r);
    call.run(engine, workspace.view(r), shards.view(r), s.view(r), own, left.view(r), status.view(r));
  });
  Singular<T> found{download(s, size), {}, {}, {}};
  if (share > 0) {
    found.u = side_by_side(download(left, size), n);
    auto vectors = download(right, size);
    if (call.problem.as_columns) {
      for (Matrix<T>& own : vectors) own = from_adjoint(own);
    }
    found.v = side_by_side(vectors, n);
  }
  for (const auto& info : download(status, size)) found.status.push_back(info(0, 0));
  return found;
}

// ||M - U diag(s) V^H|| / (n eps ||M||).
template <class T>
double residual(const Matrix<T>& m, const Singular<T>& found) {
  auto scaled = widened(found.u);
  for (std::int64_t j = 0; j < m.rows(); ++j) {
    for (std::int64_t i = 0; i < m.rows(); ++i) scaled(i, j) *= static_cast<double>(found.s[0](j, 0));
  }
  auto error = widened(m);
  gemm<Wide<T>>(-1.0, scaled, Op::conj_transpose, widened(found.v), error);
  return frobenius(error) / (n_eps<T>(m.rows()) * norm_or_least(m));
}

template <class T>
struct PolarFactors {
  Matrix<T> u, h;
  std::vector<std::int32_t> status;
};

// The same for M = U H, or M = H U with the H of the transposed matrix (see routines/polar.h).
template <class T>
double residual(const Matrix<T>& m, const PolarFactors<T>& found, bool left) {
  auto error = widened(m);
  // Columns of H here are rows for the caller: the left H of A is that of M on the right.
  gemm<Wide<T>>(-1.0, widened(left ? found.u : found.h), Op::none, widened(left ? found.h : found.u), error);
  return frobenius(error) / (n_eps<T>(m.rows()) * norm_or_least(m));
}

template <class T>
CallOf<routines::Polar, T> polar_call(std::int64_t n, int ranks, std::int64_t tile, bool left, bool factor_h) {
  CallOf<routines::Polar, T> call(n, ranks, tile);
  call.problem.left = left;
  call.problem.factor_h = factor_h;
  call.plan.depth = 2 * tile;
  call.plan.slots = 2;
  call.plan.largest_potrf = ranks == 1 ? n : call.plan.depth;
  return call;
}

// By any backend.
template <class T, class R, class Ranks>
PolarFactors<T> polar_factors(Ranks& ranks, const Matrix<T>& m, const CallOf<R, T>& call,
                              std::int64_t workspace_bytes) {
  const int size = ranks.size();
  const std::int64_t n = m.rows(), shard = shard_of(n, size);
  const bool factor_h = call.problem.factor_h;
  auto shards = ranks.template matrix<T>(n, shard), h = ranks.template matrix<T>(n, factor_h ? shard : 0);
  auto status = ranks.template matrix<std::int32_t>(1, 1);
  auto workspace = ranks.template matrix<std::byte>(workspace_bytes, 1);
  const TileColumns layout(n, shard, std::min(shard, call.plan.tile), size);
  upload(shards, in_blocks(m, layout));
  ranks.run([&](auto& engine) {
    const int r = engine.rank();
    call.run(engine, workspace.view(r), shards.view(r), h.view(r), status.view(r));
  });
  PolarFactors<T> found{from_blocks(download(shards, size), layout), {}, {}};
  if (factor_h) found.h = from_blocks(download(h, size), layout);
  for (const auto& info : download(status, size)) found.status.push_back(info(0, 0));
  return found;
}

}  // namespace jaxmg::testing
