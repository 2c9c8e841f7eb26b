// Properties of routines served by a solver of block-cyclic matrices, for any solver and any kind of ranks.
//
// A Parameter has Ranks and Scalar; CusolverMpOn of the ranks' engine has the solver (routines/served/cusolvermp/).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <ostream>
#include <vector>

#include "eigenproblems.h"
#include "engine/lu_ops.h"
#include "gtest/gtest.h"
#include "hermitian.h"
#include "matrices.h"
#include "residuals.h"
#include "routines/served/cusolvermp/cholesky.h"
#include "routines/served/cusolvermp/eigen.h"
#include "routines/served/cusolvermp/lu.h"
#include "solves.h"
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
      for (const std::int32_t info : found.info) EXPECT_EQ(info, zero + 1);
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

REGISTER_TYPED_TEST_SUITE_P(SolverBackends, SolveSystems, SolveSystemsWithAnyMatrix, SingularMatricesMakeSolutionsNan,
                            FactorsAgreeWithOurBackend, ReportTheFailingMinor, DecomposeMatrices,
                            ChooseEigenvectorsByValue, ScaleExtremeMatricesAndReportNonFiniteOnes);

}  // namespace jaxmg::testing
