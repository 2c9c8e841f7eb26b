// Properties of calls that one rank solves for all ranks, for any kind of ranks: the results equal a call on one rank
// bitwise, in the layout of the call, and are the same on every rank.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "dealt.h"
#include "eigenproblems.h"
#include "gtest/gtest.h"
#include "lu_solves.h"
#include "matrices.h"
#include "residuals.h"
#include "routines/table.h"
#include "singular_values.h"
#include "solves.h"
#include "svd_matrices.h"
#include "typed.h"

namespace jaxmg::testing {

template <class Ranks>
inline constexpr Platform platform_of =
    std::is_same_v<typename Ranks::Engine, HostEngine> ? Platform::cpu : Platform::cuda;

// The call as planned on `ranks`, of which one works.
template <class R, class T, class Ranks>
CallOf<R, T> planned_call(std::int64_t n, int ranks, std::int64_t nrhs = 1, std::int64_t tile = 0) {
  CallOf<R, T> call(n, ranks, 0);
  call.problem.platform = platform_of<Ranks>;
  call.problem.tile = tile;
  if constexpr (requires { call.problem.nrhs; }) call.problem.nrhs = nrhs;
  call.plan = R::plan(call.problem).plan;
  EXPECT_EQ(call.plan.solo(), ranks > 1);
  return call;
}

template <class T>
Matrix<T> all_columns(const std::vector<Matrix<T>>& parts, bool distributed, std::int64_t columns) {
  if (distributed) return side_by_side(parts, columns);
  for (const auto& part : parts) EXPECT_EQ(part, parts[0]);
  return parts[0];
}

template <class Parameter>
class OneRank : public ::testing::Test {
 protected:
  using Ranks = typename Parameter::Ranks;
  using T = typename Parameter::Scalar;

  // Calls check(n, ranks, nrhs) for orders below, at and above the number of ranks; few right-hand sides are
  // replicated, many distributed.
  template <class Check>
  static void for_sizes(Check&& check) {
    for (const int ranks : {2, 3, 4, 8}) {
      if (!Ranks::available(ranks)) continue;
      for (const std::int64_t n : {1, 5, 70}) {
        for (const std::int64_t nrhs : {1, 67}) {
          SCOPED_TRACE(::testing::Message() << "n = " << n << " on " << ranks << " ranks, nrhs " << nrhs);
          check(n, ranks, nrhs);
        }
      }
    }
  }
};

TYPED_TEST_SUITE_P(OneRank);

TYPED_TEST_P(OneRank, Posv) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  this->for_sizes([](std::int64_t n, int ranks, std::int64_t nrhs) {
    for (const std::int64_t minor : {std::int64_t{0}, n}) {
      auto a = minor > 0 ? indefinite_from<T>(n, minor, 1) : positive_definite<T>(n, 1);
      const auto b = random_matrix<T>(n, nrhs, 2);
      const auto one = planned_call<routines::Posv, T, Ranks>(n, 1, nrhs),
                 call = planned_call<routines::Posv, T, Ranks>(n, ranks, nrhs);
      Ranks alone(1), all(ranks);
      const auto expected = solve(alone, {a}, b, one, one.bytes());
      const auto found = solve(all, in_blocks(a, call.problem.layout(call.plan.tile)), b, call, call.bytes());
      for (const std::int32_t info : found.info) EXPECT_EQ(info, minor);
      if (minor > 0) {
        if (call.plan.distributed_rhs) {
          EXPECT_TRUE(all_nan(side_by_side(found.x, nrhs)));
        } else {
          for (const auto& x : found.x) EXPECT_TRUE(all_nan(x));
        }
      } else {
        const auto x = all_columns(found.x, call.plan.distributed_rhs, nrhs);
        EXPECT_EQ(x, expected.x[0]);
        EXPECT_LE(solve_error(a, x, b), 3);
      }
    }
  });
}

// Factors are dealt in whole shards, which one rank or all may read.
TYPED_TEST_P(OneRank, CholeskyFactor) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  this->for_sizes([](std::int64_t n, int ranks, std::int64_t nrhs) {
    const auto a = positive_definite<T>(n, 3), b = random_matrix<T>(n, nrhs, 4);
    const auto factored = planned_call<routines::Potrf, T, Ranks>(n, ranks);
    const TileColumns layout = factored.problem.layout(factored.plan.tile);
    Ranks factoring(ranks);
    const auto factor = on_shards(factoring, in_blocks(a, layout), factored, factored.bytes());
    for (const std::int32_t status : factor.status) EXPECT_EQ(status, 0);
    EXPECT_LE(factor_error(a, lower_triangle(from_blocks(factor.shards, layout))), 2);
    const auto solved = planned_call<routines::Potrs, T, Ranks>(n, ranks, nrhs, factored.plan.tile);
    Ranks solving(ranks), inverting(ranks), together(ranks);
    const auto x = solve_with_factor(solving, factor.shards, b, solved, solved.bytes());
    EXPECT_LE(solve_error(a, all_columns(x, solved.plan.distributed_rhs, nrhs), b), 3);
    const Shape shape{n, ranks, layout.tile(), layout.tile(), 1};
    const auto same = solve_with_factor(together, factor.shards, b, shape, Sweeps::both, false);
    EXPECT_LE(solve_error(a, same[0], b), 3);
    const auto inverted = planned_call<routines::Potri, T, Ranks>(n, ranks, 1, factored.plan.tile);
    const auto inverse = on_shards(inverting, factor.shards, inverted, inverted.bytes()).shards;
    EXPECT_LE(solve_error(a, from_blocks(inverse, layout), identity<T>(n)), 3);
  });
}

TYPED_TEST_P(OneRank, Lu) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  this->for_sizes([](std::int64_t n, int ranks, std::int64_t nrhs) {
    const auto a = random_matrix<T>(n, n, 5), b = random_matrix<T>(n, nrhs, 6);
    const auto one = planned_call<routines::Gesv, T, Ranks>(n, 1, nrhs),
               call = planned_call<routines::Gesv, T, Ranks>(n, ranks, nrhs);
    Ranks alone(1), all(ranks), solving(ranks), inverting(ranks), factoring(ranks);
    const auto expected = gesv(alone, a, b, one, one.bytes()), found = gesv(all, a, b, call, call.bytes());
    const TileColumns layout = call.problem.layout(call.plan.tile);
    EXPECT_EQ(all_columns(found.x, call.plan.distributed_rhs, nrhs), expected.x[0]);
    EXPECT_EQ(from_blocks(found.shards, layout), expected.shards[0]);
    for (int r = 0; r < ranks; ++r) {
      EXPECT_EQ(found.pivots[static_cast<std::size_t>(r)], expected.pivots[0]);
      EXPECT_EQ(found.info[static_cast<std::size_t>(r)], 0);
    }
    const auto factored = planned_call<routines::Getrf, T, Ranks>(n, ranks);
    const auto factor = getrf(factoring, a, factored, factored.bytes());
    EXPECT_EQ(from_blocks(factor.shards, layout), expected.shards[0]);
    EXPECT_EQ(factor.pivots, found.pivots);
    auto solved = planned_call<routines::Getrs, T, Ranks>(n, ranks, nrhs, factored.plan.tile);
    const auto x = getrs(solving, factor, b, solved, solved.bytes());
    EXPECT_EQ(all_columns(x, solved.plan.distributed_rhs, nrhs), expected.x[0]);
    const auto inverted = planned_call<routines::Getri, T, Ranks>(n, ranks, 1, factored.plan.tile);
    const auto single = planned_call<routines::Getri, T, Ranks>(n, 1);
    Ranks one_inverting(1);
    EXPECT_EQ(getri(inverting, factor, inverted, inverted.bytes()),
              getri(one_inverting, expected, single, single.bytes()));
  });
}

TYPED_TEST_P(OneRank, ZeroPivot) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  for (const int ranks : {2, 4}) {
    if (!Ranks::available(ranks)) continue;
    auto a = identity<T>(9);
    a(4, 4) = T(0);
    const auto call = planned_call<routines::Getrf, T, Ranks>(9, ranks);
    Ranks all(ranks);
    for (const std::int32_t info : getrf(all, a, call, call.bytes()).info) EXPECT_EQ(info, 5);
  }
}

// By the platform's library, on one rank and on one for all.
TYPED_TEST_P(OneRank, Syevd) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  using routines::Syevd;
  for (const int ranks : {1, 2, 3, 4}) {
    if (!Ranks::available(ranks)) continue;
    for (const std::int64_t n : {1, 2, 9, 70}) {
      const std::int64_t part = (n + 1) / 2;
      for (const EigenvectorRange wanted : {EigenvectorRange{0, n}, {n - part, part}, {0, 0}}) {
        for (const bool finite : {true, false}) {
          SCOPED_TRACE(::testing::Message() << wanted.count << " of " << n << " on " << ranks << " ranks");
          CallOf<Syevd, T> call(n, ranks, 0);
          call.problem.platform = platform_of<Ranks>;
          call.problem.first = wanted.first;
          call.problem.vectors = wanted.count;
          call.plan = Syevd::plan(call.problem).plan;
          EXPECT_TRUE(call.plan.blocking.library);
          EXPECT_EQ(call.plan.solo(), ranks > 1);
          auto a = random_hermitian<T>(n, 7);
          const auto known = a;
          if (!finite) a(n - 1, n / 2) = not_a_number<T>();
          Ranks all(ranks);
          const auto found = eigen(all, in_blocks(lower_only(a), call.problem.layout(call.plan.tile)), call,
                                   call.bytes(), EigenvectorForm::columns, {});
          for (const std::int32_t status : found.status) EXPECT_EQ(status, finite ? 0 : not_finite);
          for (const auto& w : found.w) {
            if (finite) {
              EXPECT_EQ(w, found.w[0]);
            } else {
              EXPECT_TRUE(all_nan(w));
            }
          }
          if (wanted.count == 0) continue;
          if (!finite) {
            EXPECT_TRUE(all_nan(found.z));
            continue;
          }
          const auto w = values(found.w[0]);
          const std::vector<double> chosen(w.begin() + wanted.first, w.begin() + wanted.first + wanted.count);
          EXPECT_LE(residual(known, found.z, chosen), 30);
          EXPECT_LE(orthogonality(found.z), 30);
          // By value: the eigenvalues above the first one wanted.
          if (wanted.count < n && n > 2) {
            const Real<T> low = found.w[0](wanted.first - 1, 0), high = std::numeric_limits<Real<T>>::infinity();
            call.problem.first = 0;
            call.problem.by_value = true;
            Ranks again(ranks);
            const auto above = eigen(again, in_blocks(lower_only(a), call.problem.layout(call.plan.tile)), call,
                                     call.bytes(), EigenvectorForm::columns, {low, high});
            for (const EigenvectorRange& range : above.found) {
              EXPECT_EQ(range.first, wanted.first);
              EXPECT_EQ(range.count, wanted.count);
            }
            EXPECT_EQ(above.z, found.z);
          }
        }
      }
    }
  }
}

// On CPUs by LAPACK, on one rank and on one for all; the results of both are bitwise equal.
TYPED_TEST_P(OneRank, Gesvd) {
  using T = typename TypeParam::Scalar;
  using R = Real<T>;
  using Ranks = typename TypeParam::Ranks;
  using routines::Gesvd;
  constexpr bool by_lapack = platform_of<Ranks> == Platform::cpu;
  for (const std::int64_t n : {1, 2, 9, 45}) {
    auto all = svd_matrices<T>(n);
    for (const int exponent : {std::numeric_limits<R>::min_exponent + 2, std::numeric_limits<R>::max_exponent - 8}) {
      auto extreme = random_matrix<T>(n, n, 8);
      for (std::int64_t i = 0; i < n * n; ++i) extreme.data()[i] *= std::ldexp(R(1), exponent);
      all.emplace_back("2^" + std::to_string(exponent), extreme);
    }
    int turn = 0;
    for (const auto& [name, m] : all) {
      const int ranks = std::vector{2, 3, 4, 8}[static_cast<std::size_t>(turn++ % 4)];
      if (!Ranks::available(ranks)) continue;
      for (const bool vectors : {true, false}) {
        SCOPED_TRACE(::testing::Message() << name << ", n = " << n << " on " << ranks << " ranks, "
                                          << (vectors ? "with vectors" : "values alone"));
        const auto call_on = [&](int size) {
          CallOf<Gesvd, T> call(n, size, 0);
          call.problem.platform = platform_of<Ranks>;
          call.problem.vectors = vectors ? n : 0;
          call.plan = Gesvd::plan(call.problem).plan;
          EXPECT_EQ(call.plan.solo(), size > 1);
          EXPECT_EQ(call.plan.blocking.library, by_lapack);
          return call;
        };
        Ranks alone(1), together(ranks);
        const auto one = call_on(1), for_all = call_on(ranks);
        const auto expected = decompose(alone, m, one, one.bytes()),
                   found = decompose(together, m, for_all, for_all.bytes());
        for (const std::int32_t status : found.status) EXPECT_EQ(status, 0);
        for (const auto& s : found.s) EXPECT_EQ(s, expected.s[0]);
        if (!vectors) continue;
        EXPECT_EQ(found.u, expected.u);
        EXPECT_EQ(found.v, expected.v);
        EXPECT_LE(orthogonality(found.u), 30);
        EXPECT_LE(orthogonality(found.v), 30);
        if (name.starts_with("2^")) continue;  // its norm would over- or underflow
        EXPECT_LE(residual(m, found), 30);
      }
    }
  }
}

TYPED_TEST_P(OneRank, GesvdOfNonFiniteMatricesIsNan) {
  using T = typename TypeParam::Scalar;
  using Ranks = typename TypeParam::Ranks;
  for (const int ranks : {1, 2}) {
    if (!Ranks::available(ranks)) continue;
    CallOf<routines::Gesvd, T> call(9, ranks, 0);
    call.problem.platform = platform_of<Ranks>;
    call.problem.vectors = 9;
    call.plan = routines::Gesvd::plan(call.problem).plan;
    auto m = random_matrix<T>(9, 9, 9);
    m(3, 5) = not_a_number<T>();
    Ranks all(ranks);
    const auto found = decompose(all, m, call, call.bytes());
    for (const std::int32_t status : found.status) EXPECT_EQ(status, not_finite);
    for (const auto& s : found.s) EXPECT_TRUE(all_nan(s));
    EXPECT_TRUE(all_nan(found.u));
    EXPECT_TRUE(all_nan(found.v));
  }
}

REGISTER_TYPED_TEST_SUITE_P(OneRank, Posv, CholeskyFactor, Lu, ZeroPivot, Syevd, Gesvd, GesvdOfNonFiniteMatricesIsNan);

}  // namespace jaxmg::testing
