// Properties of routines served by a solver of block-cyclic matrices, for any solver and any kind of ranks.
//
// A Parameter has Ranks and Scalar; CusolverMpOn of the ranks' engine has the solver (routines/served/cusolvermp/).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <ostream>
#include <utility>
#include <vector>

#include "eigenproblems.h"
#include "engine/lu_ops.h"
#include "gtest/gtest.h"
#include "hermitian.h"
#include "matrices.h"
#include "qr_factors.h"
#include "residuals.h"
#include "routines/served/cusolvermp/cholesky.h"
#include "routines/served/cusolvermp/eigen.h"
#include "routines/served/cusolvermp/lu.h"
#include "routines/served/cusolvermp/qr.h"
#include "routines/served/cusolvermp/svd.h"
#include "singular_values.h"
#include "solves.h"
#include "svd_matrices.h"
#include "typed.h"

namespace jaxmg::testing {

// A matrix in square tiles, and its sharding in JAX.
struct SolverShape {
  std::int64_t n;
  int ranks;
  std::int64_t tile;
  ProcessGrid pieces;  // 1 x ranks: whole columns of A^T

  BlockCyclic shards() const { return BlockCyclic::in_pieces(n, n, pieces); }
  // The layout of factors in our own backend.
  Shape dealt() const { return {n, ranks, std::min<std::int64_t>(5, shard_of(n, ranks)), tile, 1}; }

  friend std::ostream& operator<<(std::ostream& out, const SolverShape& s) {
    return out << "n = " << s.n << " in pieces on " << s.pieces.rows << " x " << s.pieces.columns << ", tile "
               << s.tile;
  }
};

template <class Ranks>
std::vector<SolverShape> solver_shapes() {
  std::vector<SolverShape> all;
  for (const int ranks : {1, 2, 3, 4, 6, 8}) {
    if (!Ranks::available(ranks)) continue;
    all.push_back({1, ranks, 1, {1, ranks}});
    all.push_back({29, ranks, 4, {1, ranks}});
    all.push_back({48, ranks, 8, {1, ranks}});
    all.push_back({30, ranks, 64, {1, ranks}});
    const ProcessGrid mesh = squarest_grid(ranks);
    if (mesh.rows > 1) {
      all.push_back({48, ranks, 5, mesh});
      all.push_back({48, ranks, 16, {mesh.columns, mesh.rows}});
    }
  }
  return all;
}

// A call of routine R served by the solver.
template <class R, class T>
CallOf<Served<CusolverMp, R>, T> solver_call(const SolverShape& s) {
  CallOf<Served<CusolverMp, R>, T> call(s.n, s.ranks, s.dealt().tile);
  call.problem.grid_rows = s.pieces.rows;
  call.plan.block = s.tile;
  return call;
}

// Its workspace, including the solver's own on any rank.
template <class Ranks, class R, class T>
std::int64_t bytes_of(const CallOf<R, T>& call) {
  Arena measure;
  SolverWorkspace(measure, call.problem.ranks);
  Ranks ranks(static_cast<int>(call.problem.ranks));
  auto workspace = ranks.template matrix<std::byte>(measure.used(), 1);
  std::atomic<std::int64_t> most{0};
  ranks.run([&](auto& engine) {
    Arena arena = arena_over(workspace.view(engine.rank()));
    const std::int64_t bytes =
        R::template library_bytes<T>(engine, call.problem, call.plan, SolverWorkspace(arena, call.problem.ranks));
    for (std::int64_t known = most; known < bytes && !most.compare_exchange_weak(known, bytes);) {
    }
  });
  Arena with_own;
  with_own.take<std::byte>(call.bytes());
  with_own.take<std::byte>(most);
  return with_own.used();
}

template <class Parameter>
class SolverBackends : public ::testing::Test {
 protected:
  using Ranks = typename Parameter::Ranks;
  using T = typename Parameter::Scalar;

  // The shards of each rank, as matrices.
  static std::vector<Matrix<T>> cut(const Matrix<T>& a, const SolverShape& s) {
    const BlockCyclic layout = s.shards();
    std::vector<Matrix<T>> shards(static_cast<std::size_t>(s.ranks),
                                  Matrix<T>(layout.rows.block, layout.columns.block, not_a_number<T>()));
    for (std::int64_t j = 0; j < s.n; ++j) {
      for (std::int64_t i = 0; i < s.n; ++i) {
        const int rank = layout.grid().rank(layout.rows.owner(i), layout.columns.owner(j));
        shards[static_cast<std::size_t>(rank)](layout.rows.local(i), layout.columns.local(j)) = a(i, j);
      }
    }
    return shards;
  }

  // A Hermitian system, or one with any A: R is Posv or Gesv.
  template <class R = routines::Posv>
  static Solution<T> solve(const Matrix<T>& a, const Matrix<T>& b, const SolverShape& s, bool distributed) {
    auto call = solver_call<R, T>(s);
    call.problem.nrhs = b.columns();
    call.plan.distributed_rhs = distributed;
    Ranks ranks(s.ranks);
    return testing::solve(ranks, cut(a, s), b, call, bytes_of<Ranks>(call));
  }

  static OnShards<T> factor(const Matrix<T>& a, const SolverShape& s) {
    const auto call = solver_call<routines::Potrf, T>(s);
    Ranks ranks(s.ranks);
    return on_shards(ranks, cut(lower_only(a), s), call, bytes_of<Ranks>(call));
  }

  // With bounds (lower and upper): eigenvectors of eigenvalues between them.
  static Eigen<T> eigen(const Matrix<T>& a, const SolverShape& s, EigenvectorRange wanted,
                        EigenvectorForm form = EigenvectorForm::columns, const std::vector<Real<T>>& bounds = {}) {
    auto call = solver_call<routines::Syevd, T>(s);
    call.problem.first = wanted.first;
    call.problem.vectors = wanted.count;
    Ranks ranks(s.ranks);
    return testing::eigen(ranks, cut(lower_only(a), s), call, bytes_of<Ranks>(call), form, bounds);
  }

  static Singular<T> decompose(const Matrix<T>& m, const SolverShape& s, bool vectors, bool as_columns = false) {
    auto call = solver_call<routines::Gesvd, T>(s);
    call.problem.vectors = vectors ? s.n : 0;
    call.problem.as_columns = as_columns;
    Ranks ranks(s.ranks);
    return testing::decompose(ranks, m, call, bytes_of<Ranks>(call));
  }

  static PolarFactors<T> polar_factors(const Matrix<T>& m, const SolverShape& s, bool left, bool factor_h = true) {
    auto call = solver_call<routines::Polar, T>(s);
    call.problem.left = left;
    call.problem.factor_h = factor_h;
    Ranks ranks(s.ranks);
    return testing::polar_factors(ranks, m, call, bytes_of<Ranks>(call));
  }

  template <class Matrices>
  static bool all_nan(const Matrices& matrices) {
    return std::all_of(matrices.begin(), matrices.end(), [](const auto& m) {
      return std::all_of(m.data(), m.data() + m.rows() * m.columns(), [](auto value) { return value != value; });
    });
  }
};

TYPED_TEST_SUITE_P(SolverBackends);

TYPED_TEST_P(SolverBackends, SolveSystems) {
  using T = typename TypeParam::Scalar;
  for (const SolverShape& shape : solver_shapes<typename TypeParam::Ranks>()) {
    for (const bool distributed : {false, true}) {
      if (distributed && shape.ranks == 1) continue;
      SCOPED_TRACE(::testing::Message() << shape << (distributed ? ", distributed B" : ", replicated B"));
      const auto a = positive_definite<T>(shape.n, 1);
      const auto b = random_matrix<T>(shape.n, 7, 2);
      const auto found = this->solve(lower_only(a), b, shape, distributed);
      for (const std::int32_t info : found.info) EXPECT_EQ(info, 0);
      const auto x = distributed ? side_by_side(found.x, b.columns()) : found.x[0];
      EXPECT_LE(solve_error(a, x, b), 10);
      if (distributed) continue;
      for (const auto& other : found.x) EXPECT_EQ(other, found.x[0]) << "ranks differ";
    }
  }
}

// Ranks have columns of A^T.
TYPED_TEST_P(SolverBackends, SolveSystemsWithAnyMatrix) {
  using T = typename TypeParam::Scalar;
  if constexpr (!LuOps<typename TypeParam::Ranks::Engine, T>) {
    GTEST_SKIP() << "the engine has no operations of LU";
  } else {
    for (const SolverShape& shape : solver_shapes<typename TypeParam::Ranks>()) {
      if (shape.pieces.rows > 1) continue;
      for (const bool distributed : {false, true}) {
        SCOPED_TRACE(::testing::Message() << shape << (distributed ? ", distributed B" : ", replicated B"));
        const auto a = random_matrix<T>(shape.n, shape.n, 11), b = random_matrix<T>(shape.n, 7, 12);
        const auto found = this->template solve<routines::Gesv>(transposed(a), b, shape, distributed);
        for (const std::int32_t info : found.info) EXPECT_EQ(info, 0);
        const auto x = distributed ? side_by_side(found.x, b.columns()) : found.x[0];
        EXPECT_LE(solve_error(a, x, b), 10);
        if (distributed) continue;
        for (const auto& other : found.x) EXPECT_EQ(other, x) << "ranks differ";
      }
    }
  }
}

TYPED_TEST_P(SolverBackends, SingularMatricesMakeSolutionsNan) {
  using T = typename TypeParam::Scalar;
  if constexpr (!LuOps<typename TypeParam::Ranks::Engine, T>) {
    GTEST_SKIP() << "the engine has no operations of LU";
  } else {
    for (const SolverShape& shape : solver_shapes<typename TypeParam::Ranks>()) {
      if (shape.pieces.rows > 1) continue;
      SCOPED_TRACE(shape);
      const std::int64_t zero = shape.n / 2;
      const auto found = this->template solve<routines::Gesv>(transposed(singular_at<T>(shape.n, zero)),
                                                              random_matrix<T>(shape.n, 2, 13), shape, false);
      // cuSOLVERMp goes on after a zero pivot, and with four ranks makes earlier ones NaN.
      for (const std::int32_t info : found.info) {
        EXPECT_GE(info, 1);
        EXPECT_LE(info, zero + 1);
      }
      EXPECT_TRUE(this->all_nan(found.x));
    }
  }
}

// Our own backend solves with the factor.
TYPED_TEST_P(SolverBackends, FactorsAgreeWithOurBackend) {
  using T = typename TypeParam::Scalar;
  for (const SolverShape& shape : solver_shapes<typename TypeParam::Ranks>()) {
    if (shape.pieces.rows > 1) continue;
    SCOPED_TRACE(shape);
    const auto a = positive_definite<T>(shape.n, 3);
    const auto made = this->factor(a, shape);
    for (const std::int32_t info : made.status) EXPECT_EQ(info, 0);
    EXPECT_LE(factor_error(a, lower_triangle(collected(made.shards, shape.dealt().layout()))), 10);
  }
}

TYPED_TEST_P(SolverBackends, ReportTheFailingMinor) {
  using T = typename TypeParam::Scalar;
  for (const SolverShape& shape : solver_shapes<typename TypeParam::Ranks>()) {
    for (const std::int64_t minor : {std::int64_t{1}, (shape.n + 1) / 2, shape.n}) {
      SCOPED_TRACE(::testing::Message() << shape << ", minor " << minor);
      const auto a = indefinite_from<T>(shape.n, minor, 4);
      const auto found = this->solve(lower_only(a), random_matrix<T>(shape.n, 2, 5), shape, false);
      for (const std::int32_t info : found.info) EXPECT_EQ(info, minor);
      EXPECT_TRUE(this->all_nan(found.x));
      if (shape.pieces.rows > 1) continue;
      const auto made = this->factor(a, shape);
      for (const std::int32_t info : made.status) EXPECT_EQ(info, minor);
      EXPECT_TRUE(this->all_nan(made.shards));
    }
  }
}

TYPED_TEST_P(SolverBackends, DecomposeMatrices) {
  using T = typename TypeParam::Scalar;
  for (const SolverShape& shape : solver_shapes<typename TypeParam::Ranks>()) {
    const auto a = random_hermitian<T>(shape.n, 6);
    const std::int64_t n = shape.n;
    for (const EigenvectorRange wanted : {EigenvectorRange{0, n}, {n / 3, (n + 1) / 2}, {0, 0}}) {
      SCOPED_TRACE(::testing::Message() << shape << ", " << wanted.count << " vectors from " << wanted.first);
      const auto found = this->eigen(a, shape, wanted);
      for (const std::int32_t status : found.status) ASSERT_EQ(status, 0);
      const auto w = values(found.w[0]), expected = lapack_eigenvalues(a);
      for (std::size_t i = 0; i < w.size(); ++i) {
        EXPECT_LE(std::abs(w[i] - expected[i]), 30 * n_eps<T>(n) * norm_or_least(a)) << "eigenvalue " << i;
      }
      for (const auto& other : found.w) EXPECT_EQ(other, found.w[0]) << "ranks differ";
      if (wanted.count == 0) continue;
      const auto first = w.begin() + wanted.first;
      EXPECT_LE(residual(a, found.z, {first, first + wanted.count}), 30);
      EXPECT_LE(orthogonality(found.z), 30);
    }
  }
}

// Eigenvectors within bounds, as rows of the adjoint: fewer than fit, exactly as many, none.
TYPED_TEST_P(SolverBackends, ChooseEigenvectorsByValue) {
  using T = typename TypeParam::Scalar;
  using R = Real<T>;
  for (const SolverShape& shape : solver_shapes<typename TypeParam::Ranks>()) {
    if (shape.n < 20) continue;
    const auto a = random_hermitian<T>(shape.n, 8);
    const auto expected = lapack_eigenvalues(a);
    const auto middle = [&](std::size_t i) { return static_cast<R>((expected[i - 1] + expected[i]) / 2); };
    const std::int64_t room = 9;
    for (const auto& [first, count] : {EigenvectorRange{3, 5}, {3, 16}, {7, 0}}) {
      SCOPED_TRACE(::testing::Message() << shape << ", " << count << " from " << first);
      const R low = middle(static_cast<std::size_t>(first)), high = middle(static_cast<std::size_t>(first + count));
      const auto found = this->eigen(a, shape, {0, room}, EigenvectorForm::adjoint_rows, {low, high});
      for (const EigenvectorRange& one : found.found) {
        EXPECT_EQ(one.first, first);
        EXPECT_EQ(one.count, count);
      }
      const std::int64_t made = std::min(count, room);
      Matrix<T> z(shape.n, made), none(shape.n, room - made);
      std::copy_n(found.z.data(), shape.n * made, z.data());
      if (made > 0) {
        const auto w = values(found.w[0]);
        EXPECT_LE(residual(a, z, {w.begin() + first, w.begin() + first + made}), 30);
        EXPECT_LE(orthogonality(z), 30);
      }
      Matrix<T> rest(shape.n, room - made);
      std::copy_n(found.z.data() + shape.n * made, shape.n * (room - made), rest.data());
      EXPECT_EQ(rest, none);
    }
  }
}

TYPED_TEST_P(SolverBackends, ScaleExtremeMatricesAndReportNonFiniteOnes) {
  using T = typename TypeParam::Scalar;
  using R = Real<T>;
  for (const SolverShape& shape : solver_shapes<typename TypeParam::Ranks>()) {
    if (shape.n != 29) continue;
    SCOPED_TRACE(shape);
    auto a = random_hermitian<T>(shape.n, 7);
    const R factor = std::ldexp(R(1), std::numeric_limits<R>::max_exponent - 10);
    for (std::int64_t i = 0; i < shape.n * shape.n; ++i) a.data()[i] *= factor;
    const auto found = this->eigen(a, shape, {0, shape.n});
    EXPECT_EQ(found.status[0], 0);
    EXPECT_TRUE(std::isfinite(found.w[0](shape.n - 1, 0)));
    EXPECT_LE(orthogonality(found.z), 30);
    a(shape.n - 1, 2) = T(std::numeric_limits<R>::infinity());
    const auto bad = this->eigen(a, shape, {0, shape.n});
    for (const std::int32_t status : bad.status) EXPECT_EQ(status, not_finite);
    EXPECT_TRUE(this->all_nan(bad.w));
    EXPECT_TRUE(this->all_nan(std::vector<Matrix<T>>{bad.z}));
  }
}

// Our own routines read the factor.
TYPED_TEST_P(SolverBackends, FactorsOfQrAreReadByOurRoutines) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  for (const int size : {1, 2, 3, 4, 6, 8}) {
    if (!Ranks::available(size)) continue;
    for (const auto& [m, n] :
         std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 1}, {29, 29}, {64, 20}, {90, 7}, {20, 48}, {1, 9}}) {
      const QrShape shape{m, n, size, std::min<std::int64_t>(5, shard_of(n, size)), 1};
      CallOf<Served<CusolverMp, routines::Geqrf>, T> call(n, size, shape.tile);
      call.problem.m = m;
      for (const std::int64_t block : {4, 16}) {
        SCOPED_TRACE(::testing::Message() << shape << ", blocks of " << block);
        call.plan.block = std::min(block, n);
        auto a = random_matrix<T>(m, n, 15);
        // A column in the span of others, and one of zeros.
        if (n > 4 && m > 4) {
          for (std::int64_t i = 0; i < m; ++i) {
            a(i, 3) = a(i, 1) - a(i, 2);
            a(i, n - 1) = T(0);
          }
        }
        Ranks factoring(size);
        const auto factor = geqrf(factoring, a, shape, call, bytes_of<Ranks>(call));
        const auto q = orgqr(Ranks(size), factor, shape), r = upper(Ranks(size), factor, shape);
        EXPECT_LE(qr_error(a, q, r), 30);
        EXPECT_LE(orthogonality(q, shape.larger()), 30);
        const auto b = random_matrix<T>(m, 2, 16);
        const auto product = ormqr(Ranks(size), factor, b, shape, true, false)[0],
                   back = ormqr(Ranks(size), factor, product, shape, false, false)[0];
        auto error = back;
        for (std::int64_t i = 0; i < m * b.columns(); ++i) error.data()[i] -= b.data()[i];
        EXPECT_LE(frobenius(error), 30 * n_eps<T>(shape.larger()) * frobenius(b));
      }
    }
  }
}

TYPED_TEST_P(SolverBackends, FactorsOfQrTellOfZerosOnTheDiagonal) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  for (const int size : {1, 2, 4}) {
    if (!Ranks::available(size)) continue;
    const QrShape shape{20, 12, size, std::min<std::int64_t>(5, shard_of(12, size)), 1};
    CallOf<Served<CusolverMp, routines::Geqrf>, T> call(12, size, shape.tile);
    call.problem.m = 20;
    call.plan.block = 4;
    Matrix<T> a(20, 12);
    for (std::int64_t i = 0; i < 12; ++i) a(i, i) = T(static_cast<Real<T>>(i == 6 ? 0 : 1));
    Ranks factoring(size);
    for (const std::int32_t info : geqrf(factoring, a, shape, call, bytes_of<Ranks>(call)).info) EXPECT_EQ(info, 7);
  }
}

TYPED_TEST_P(SolverBackends, DecomposeByBlocksIntoSingularVectors) {
  using T = typename TypeParam::Scalar;
  for (const SolverShape& shape : solver_shapes<typename TypeParam::Ranks>()) {
    if (shape.pieces.rows > 1) continue;
    const auto m = random_matrix<T>(shape.n, shape.n, 17);
    const auto expected = lapack_singular_values(m);
    for (const bool vectors : {true, false}) {
      SCOPED_TRACE(::testing::Message() << shape << (vectors ? ", with vectors" : ", values alone"));
      const auto found = this->decompose(m, shape, vectors);
      for (const std::int32_t status : found.status) ASSERT_EQ(status, 0);
      for (const auto& s : found.s) EXPECT_EQ(s, found.s[0]) << "ranks differ";
      const auto s = values(found.s[0]);
      for (std::size_t i = 0; i < s.size(); ++i) {
        EXPECT_LE(std::abs(s[i] - expected[i]), 30 * n_eps<T>(shape.n) * norm_or_least(m)) << "singular value " << i;
      }
      if (!vectors) continue;
      EXPECT_LE(residual(m, found), 30);
      EXPECT_LE(orthogonality(found.u), 30);
      EXPECT_LE(orthogonality(found.v), 30);
      const auto turned = this->decompose(m, shape, true, true);
      EXPECT_LE(residual(m, turned), 30);
    }
  }
}

TYPED_TEST_P(SolverBackends, FactorIntoUnitaryAndHermitianMatrices) {
  using T = typename TypeParam::Scalar;
  for (const SolverShape& shape : solver_shapes<typename TypeParam::Ranks>()) {
    if (shape.pieces.rows > 1) continue;
    const auto m = random_matrix<T>(shape.n, shape.n, 18);
    for (const bool left : {true, false}) {
      SCOPED_TRACE(::testing::Message() << shape << (left ? ", H on the left" : ", H on the right"));
      const auto found = this->polar_factors(m, shape, left);
      for (const std::int32_t status : found.status) ASSERT_EQ(status, 0);
      EXPECT_LE(residual(m, found, left), 30);
      EXPECT_LE(orthogonality(found.u), 30);
      for (const double w : lapack_eigenvalues(mirrored(found.h))) {
        EXPECT_GE(w, -30 * n_eps<T>(shape.n) * norm_or_least(m));
      }
      EXPECT_LE(orthogonality(this->polar_factors(m, shape, left, false).u), 30);
    }
  }
}

TYPED_TEST_P(SolverBackends, ScaleExtremeMatricesToDecomposeAndMakeNonFiniteOnesNan) {
  using T = typename TypeParam::Scalar;
  using R = Real<T>;
  for (const SolverShape& shape : solver_shapes<typename TypeParam::Ranks>()) {
    if (shape.n != 29) continue;
    SCOPED_TRACE(shape);
    auto m = random_matrix<T>(shape.n, shape.n, 19);
    const R factor = std::ldexp(R(1), std::numeric_limits<R>::max_exponent - 10);
    for (std::int64_t i = 0; i < shape.n * shape.n; ++i) m.data()[i] *= factor;
    const auto found = this->decompose(m, shape, true);
    EXPECT_EQ(found.status[0], 0);
    EXPECT_TRUE(std::isfinite(found.s[0](0, 0)));
    EXPECT_LE(orthogonality(found.u), 30);
    EXPECT_LE(orthogonality(this->polar_factors(m, shape, true).u), 30);
    m(2, shape.n - 1) = T(std::numeric_limits<R>::infinity());
    const auto bad = this->decompose(m, shape, true);
    for (const std::int32_t status : bad.status) EXPECT_EQ(status, not_finite);
    EXPECT_TRUE(this->all_nan(bad.s));
    EXPECT_TRUE(this->all_nan(std::vector<Matrix<T>>{bad.u, bad.v}));
    const auto factors = this->polar_factors(m, shape, false);
    for (const std::int32_t status : factors.status) EXPECT_EQ(status, not_finite);
    EXPECT_TRUE(this->all_nan(std::vector<Matrix<T>>{factors.u, factors.h}));
  }
}

REGISTER_TYPED_TEST_SUITE_P(SolverBackends, SolveSystems, SolveSystemsWithAnyMatrix, SingularMatricesMakeSolutionsNan,
                            FactorsAgreeWithOurBackend, ReportTheFailingMinor, DecomposeMatrices,
                            ChooseEigenvectorsByValue, ScaleExtremeMatricesAndReportNonFiniteOnes,
                            FactorsOfQrAreReadByOurRoutines, FactorsOfQrTellOfZerosOnTheDiagonal,
                            DecomposeByBlocksIntoSingularVectors, FactorIntoUnitaryAndHermitianMatrices,
                            ScaleExtremeMatricesToDecomposeAndMakeNonFiniteOnesNan);

}  // namespace jaxmg::testing
