// Eigenvalue problems on any kind of ranks (see ranks.h), from matrices to matrices, and what solutions are judged by.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <ostream>
#include <vector>

#include "backends/tiled_eigen.h"
#include "dealt.h"
#include "hermitian.h"
#include "matrices.h"
#include "residuals.h"
#include "solves.h"

namespace jaxmg::testing {

struct EigenShape {
  std::int64_t n;
  int ranks;
  std::int64_t tile;
  SyevdBlocking blocking;

  TileColumns layout() const { return {n, shard_of(n, ranks), tile, ranks}; }

  friend std::ostream& operator<<(std::ostream& out, const EigenShape& s) {
    return out << "n = " << s.n << " on " << s.ranks << " ranks, tile " << s.tile << ", b = " << s.blocking.b
               << ", delay " << s.blocking.delay << ", depth " << s.blocking.depth << ", columns " << s.blocking.columns
               << ", diamonds " << s.blocking.diamonds << ", secular " << s.blocking.secular << ", kept "
               << s.blocking.kept << (s.blocking.solo ? ", one of them alone" : "");
  }
};

inline EigenShape eigen_shape(std::int64_t n, int ranks, std::int64_t tile, std::int64_t b, std::int64_t delay) {
  const std::int64_t diamonds = BackTransformationWorkspace<double>::least_diamonds(n, b) + delay;
  // Every second shape shares the reflectors.
  const std::int64_t secular = std::max<std::int64_t>(1, n / delay),
                     kept = delay % 2 == 0 ? b : (b + ranks - 1) / ranks;
  return {n, ranks, tile, {b, delay, (delay + 1) * b, 1 + n / 3, diamonds, secular, kept}};
}

template <class T>
struct Eigen {
  std::vector<Matrix<Real<T>>> w;  // of each rank
  Matrix<T> z;
  std::vector<std::int32_t> status;
  std::vector<EigenvectorRange> found;  // between bounds
};

// Eigenvectors that a rank has as rows of the adjoint, as columns.
template <class T>
Matrix<T> from_adjoint(const Matrix<T>& rows) {
  const std::int64_t n = rows.rows(), share = rows.columns();
  Matrix<T> z(n, share);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < share; ++j) z(i, j) = conjugate(rows.data()[j + i * share]);
  }
  return z;
}

// By our backend, from the lower triangle in undealt shards, in exactly the workspace that it measures. With bounds (a
// lower and an upper one), of eigenvalues between these.
template <class T, class Ranks>
Eigen<T> eigen(Ranks& ranks, const Matrix<T>& a, const EigenShape& s, EigenvectorRange wanted,
               EigenvectorForm form = EigenvectorForm::columns, const std::vector<Real<T>>& bounds = {}) {
  const TileColumns layout = s.layout();
  const std::int64_t share = wanted.share(s.ranks);
  const std::int64_t bytes = TiledSyevdWorkspace<T>(Arena(), layout, s.blocking, share).bytes;
  auto shards = ranks.template matrix<T>(s.n, layout.shard());
  auto w = ranks.template matrix<Real<T>>(s.n, 1);
  auto z = ranks.template matrix<T>(s.n, share);
  auto status = ranks.template matrix<std::int32_t>(1, 1);
  auto limits = ranks.template matrix<Real<T>>(2, 1);
  auto found = ranks.template matrix<std::int32_t>(2, 1);
  for (int r = 0; r < s.ranks && !bounds.empty(); ++r) {
    Matrix<Real<T>> two(2, 1);
    std::copy(bounds.begin(), bounds.end(), two.data());
    limits.upload(r, two);
  }
  auto workspace = ranks.template matrix<std::byte>(bytes, 1);
  upload(shards, in_blocks(lower_only(a), layout));
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    EigenvectorChoice<Real<T>> choice{wanted};
    if (!bounds.empty()) choice = {wanted, limits.view(rank).data, found.view(rank).data};
    const HermitianEigen<T> problem{layout, s.blocking, shards.view(rank),     w.view(rank).data, z.view(rank),
                                    form,   choice,     status.view(rank).data};
    TiledEigen<T, typename Ranks::Engine>().syevd(engine, problem, arena_over(workspace.view(rank)));
  });
  Eigen<T> result{download(w, s.ranks), {}, {}, {}};
  auto vectors = download(z, s.ranks);
  if (form == EigenvectorForm::adjoint_rows) {
    for (Matrix<T>& own : vectors) own = from_adjoint(own);
  }
  if (share > 0) result.z = side_by_side(vectors, wanted.count);
  for (const auto& info : download(status, s.ranks)) result.status.push_back(info(0, 0));
  if (!bounds.empty()) {
    for (const auto& two : download(found, s.ranks)) result.found.push_back({two(0, 0), two(1, 0)});
  }
  return result;
}

// All eigenvectors, or none.
template <class T, class Ranks>
Eigen<T> eigen(Ranks& ranks, const Matrix<T>& a, const EigenShape& s, bool vectors) {
  return eigen(ranks, a, s, EigenvectorRange{0, vectors ? s.n : 0});
}

template <class T>
double norm_or_least(const Matrix<T>& a) {
  return std::max(frobenius(a), std::numeric_limits<double>::min());
}

// The eigenvalues of one rank in double precision.
template <class R>
std::vector<double> values(const Matrix<R>& w) {
  return {w.data(), w.data() + w.rows()};
}

// ||A Z - Z diag(w)|| / (n eps ||A||).
template <class T>
double residual(const Matrix<T>& a, const Matrix<T>& z, const std::vector<double>& w) {
  Matrix<Wide<T>> error = widened(z);
  for (std::int64_t j = 0; j < z.columns(); ++j) {
    for (std::int64_t i = 0; i < z.rows(); ++i) error(i, j) *= -w[static_cast<std::size_t>(j)];
  }
  gemm<Wide<T>>(1.0, widened(a), Op::none, widened(z), error);
  return frobenius(error) / (n_eps<T>(a.rows()) * norm_or_least(a));
}

// ||Z^H Z - I|| / (n eps).
template <class T>
double orthogonality(const Matrix<T>& z) {
  Matrix<T> adjoint(z.columns(), z.rows());
  for (std::int64_t j = 0; j < z.columns(); ++j) {
    for (std::int64_t i = 0; i < z.rows(); ++i) adjoint(j, i) = conjugate(z(i, j));
  }
  const auto wide = widened(adjoint);
  auto error = identity<Wide<T>>(z.columns());
  gemm<Wide<T>>(-1.0, wide, Op::conj_transpose, wide, error);
  return frobenius(error) / n_eps<T>(z.columns());
}

}  // namespace jaxmg::testing
