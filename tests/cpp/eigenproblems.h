// Eigenproblems on any kind of ranks (see ranks.h), from whole matrices to whole results, and residuals of solutions.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <ostream>
#include <vector>

#include "dealt.h"
#include "hermitian.h"
#include "matrices.h"
#include "residuals.h"
#include "routines/syevd.h"
#include "solves.h"

namespace jaxmg::testing {

struct EigenShape {
  std::int64_t n;
  int ranks;
  std::int64_t tile;
  SyevdBlocking blocking;
  bool solo = false;  // one rank solves for all

  TileColumns layout() const { return {n, shard_of(n, ranks), tile, ranks}; }

  friend std::ostream& operator<<(std::ostream& out, const EigenShape& s) {
    return out << "n = " << s.n << " on " << s.ranks << " ranks, tile " << s.tile << ", b = " << s.blocking.b
               << ", delay " << s.blocking.delay << ", depth " << s.blocking.depth << ", columns " << s.blocking.columns
               << ", diamonds " << s.blocking.diamonds << ", secular " << s.blocking.secular << ", kept "
               << s.blocking.kept << (s.solo ? ", solved by one rank" : "");
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

// Converts a rank's eigenvectors from rows of the adjoint to columns.
template <class T>
Matrix<T> from_adjoint(const Matrix<T>& rows) {
  const std::int64_t n = rows.rows(), share = rows.columns();
  Matrix<T> z(n, share);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < share; ++j) z(i, j) = conjugate(rows.data()[j + i * share]);
  }
  return z;
}

// The memory of a rank's vectors in the form of the adjoint.
template <class T>
MatrixView<T> rows_of_columns(MatrixView<T> z) {
  return {z.data, z.columns, z.rows, z.columns};
}

// Form of a rank's eigenvectors: columns of Z, or rows of Z^H, which JAX sees as columns.
enum class EigenvectorForm { columns, adjoint_rows };

// Solves an eigenproblem with R, syevd or a backend's version of it, from the lower triangle in undealt `shards`, in
// exactly `workspace_bytes`. With bounds (lower and upper): eigenvectors of eigenvalues between them.
template <class R, class T, class Ranks>
Eigen<T> eigen(Ranks& ranks, const std::vector<Matrix<T>>& from, CallOf<R, T> call, std::int64_t workspace_bytes,
               EigenvectorForm form, const std::vector<Real<T>>& bounds) {
  const int size = static_cast<int>(call.problem.ranks);
  const std::int64_t n = call.problem.n, share = call.problem.share_of_vectors();
  call.problem.as_columns = form == EigenvectorForm::adjoint_rows;
  call.problem.by_value = !bounds.empty();
  auto shards = ranks.template matrix<T>(from[0].rows(), from[0].columns());
  auto w = ranks.template matrix<Real<T>>(n, 1);
  auto z = ranks.template matrix<T>(n, share);
  auto status = ranks.template matrix<std::int32_t>(1, 1);
  auto limits = ranks.template matrix<Real<T>>(2, 1);
  auto found = ranks.template matrix<std::int32_t>(2, 1);
  for (int r = 0; r < size && !bounds.empty(); ++r) {
    Matrix<Real<T>> two(2, 1);
    std::copy(bounds.begin(), bounds.end(), two.data());
    limits.upload(r, two);
  }
  auto workspace = ranks.template matrix<std::byte>(workspace_bytes, 1);
  upload(shards, from);
  ranks.run([&](auto& engine) {
    const int r = engine.rank();
    const MatrixView<T> vectors = call.problem.as_columns ? rows_of_columns(z.view(r)) : z.view(r);
    call.run(engine, workspace.view(r), shards.view(r), limits.view(r), w.view(r), vectors, found.view(r),
             status.view(r));
  });
  Eigen<T> result{download(w, size), {}, {}, {}};
  auto vectors = download(z, size);
  if (form == EigenvectorForm::adjoint_rows) {
    for (Matrix<T>& own : vectors) own = from_adjoint(own);
  }
  if (share > 0) result.z = side_by_side(vectors, call.problem.vectors);
  for (const auto& info : download(status, size)) result.status.push_back(info(0, 0));
  if (!bounds.empty()) {
    for (const auto& two : download(found, size)) result.found.push_back({two(0, 0), two(1, 0)});
  }
  return result;
}

template <class T>
CallOf<routines::Syevd, T> syevd_call(const EigenShape& s, EigenvectorRange wanted) {
  CallOf<routines::Syevd, T> call(s.n, s.ranks, s.tile);
  call.problem.first = wanted.first;
  call.problem.vectors = wanted.count;
  call.plan.blocking = s.blocking;
  call.plan.alone = s.solo ? s.n : 0;
  return call;
}

// The same by our own eigensolver, in exactly the workspace that it counts.
template <class T, class Ranks>
Eigen<T> eigen(Ranks& ranks, const Matrix<T>& a, const EigenShape& s, EigenvectorRange wanted,
               EigenvectorForm form = EigenvectorForm::columns, const std::vector<Real<T>>& bounds = {}) {
  const auto call = syevd_call<T>(s, wanted);
  return eigen(ranks, in_blocks(lower_only(a), s.layout()), call, call.bytes(), form, bounds);
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
