// Plans of singular value and polar decompositions.
#include <algorithm>
#include <cstdint>

#include "core/error.h"
#include "gtest/gtest.h"
#include "routines/gesvd.h"
#include "routines/polar.h"

namespace jaxmg::testing {
namespace {

using routines::Gesvd;
using routines::Polar;

template <class R>
typename R::Problem request(Platform platform, std::int64_t n, std::int64_t ranks) {
  typename R::Problem q;
  q.platform = platform;
  q.n = n;
  q.ranks = ranks;
  return q;
}

template <class R>
void check(const typename R::Problem& q) {
  SCOPED_TRACE(::testing::Message() << R::name << ", n = " << q.n << ", " << q.ranks << " ranks, tile " << q.tile);
  const auto made = R::plan(q);
  EXPECT_GE(made.plan.tile, 1);
  EXPECT_LE(made.plan.tile, q.shard());
  EXPECT_GE(made.plan.depth, made.plan.tile);
  EXPECT_GE(made.plan.slots, 1);
  EXPECT_GT(made.seconds, 0);
  EXPECT_EQ(made.workspace_bytes, workspace_bytes<R>(q, made.plan));
  EXPECT_GE(made.plan.largest_potrf, q.ranks == 1 ? q.n : std::min(q.n, made.plan.depth));
}

TEST(SvdPlan, EveryRequestHasAValidPlan) {
  for (const Platform platform : {Platform::cpu, Platform::cuda}) {
    for (const std::int64_t ranks : {1, 2, 3, 4, 8}) {
      for (const std::int64_t n : {1, 2, 5, 100, 1000, 4096, 50000}) {
        for (const std::int64_t tile : {0, 7, 256}) {
          for (const std::int64_t vectors : {std::int64_t{0}, n}) {
            auto svd = request<Gesvd>(platform, n, ranks);
            svd.vectors = vectors;
            svd.tile = tile;
            check<Gesvd>(svd);
            auto polar = request<Polar>(platform, n, ranks);
            polar.factor_h = vectors > 0;
            polar.tile = tile;
            check<Polar>(polar);
          }
        }
      }
    }
  }
}

// Panels, then the buffers of the eigensolver, shrink; matrices do not.
template <class R>
void expect_limits(typename R::Problem q) {
  const auto made = R::plan(q);
  q.workspace_limit = made.workspace_bytes - made.workspace_bytes / 20;
  EXPECT_LE(R::plan(q).workspace_bytes, q.workspace_limit);
  q.workspace_limit = q.shard_bytes();
  EXPECT_THROW(R::plan(q), Error);
}

TEST(SvdPlan, LimitsAreKept) {
  auto svd = request<Gesvd>(Platform::cuda, 50000, 4);
  expect_limits<Gesvd>(svd);
  svd.vectors = svd.n;
  expect_limits<Gesvd>(svd);
  expect_limits<Polar>(request<Polar>(Platform::cuda, 50000, 4));
}

TEST(SvdPlan, OneRankDecomposesSmallMatrices) {
  for (const std::int64_t n : {100, 2048}) {
    const auto plan = Gesvd::plan(request<Gesvd>(Platform::cpu, n, 4)).plan;
    EXPECT_TRUE(plan.solo() && plan.blocking.library) << n;
  }
  const auto large = Gesvd::plan(request<Gesvd>(Platform::cpu, 10000, 4)).plan;
  EXPECT_FALSE(large.solo() || large.blocking.library);
}

// Where its sizes have 32 bits; a given tile size selects the algorithm that has tiles.
TEST(SvdPlan, OneCpuLeavesAllToLapack) {
  auto q = request<Gesvd>(Platform::cpu, 10000, 1);
  q.vectors = q.n;
  EXPECT_TRUE(Gesvd::plan(q).plan.blocking.library);
  q.tile = 100;
  EXPECT_FALSE(Gesvd::plan(q).plan.blocking.library);
  EXPECT_FALSE(Gesvd::plan(request<Gesvd>(Platform::cpu, 30000, 1)).plan.blocking.library);
  EXPECT_FALSE(Gesvd::plan(request<Gesvd>(Platform::cuda, 100, 1)).plan.blocking.library);
}

// One CPU also leaves matrices with more rows than columns to LAPACK; nothing else decomposes them.
TEST(SvdPlan, OneCpuDecomposesTallMatrices) {
  auto q = request<Gesvd>(Platform::cpu, 100, 1);
  q.m = 130;
  q.as_columns = true;
  for (const std::int64_t vectors : {0, 100}) {
    q.vectors = vectors;
    const auto made = Gesvd::plan(q);
    EXPECT_TRUE(made.plan.blocking.library);
    EXPECT_EQ(made.shard_bytes, 8 * 100 * 130);
  }
  const auto expect_refused = [&](auto change) {
    auto refused = q;
    change(refused);
    EXPECT_THROW(Gesvd::plan(refused), Error);
  };
  expect_refused([](auto& p) { p.platform = Platform::cuda; });
  expect_refused([](auto& p) { p.ranks = 2; });
  expect_refused([](auto& p) { p.m = 99; });
  expect_refused([](auto& p) { p.tile = 10; });
  expect_refused([](auto& p) { p.m = 30000; });
}

// Eigenvectors for singular values alone are the first thing that a limit saves.
TEST(SvdPlan, ValuesHaveRoomForVectorsUnlessLimited) {
  auto q = request<Gesvd>(Platform::cuda, 4096, 1);
  const auto made = Gesvd::plan(q);
  EXPECT_TRUE(made.plan.values_by_vectors);
  q.workspace_limit = made.workspace_bytes - 1;
  const auto limited = Gesvd::plan(q);
  EXPECT_FALSE(limited.plan.values_by_vectors);
  EXPECT_EQ(limited.plan.depth, made.plan.depth);
  EXPECT_LE(limited.workspace_bytes, q.workspace_limit);
  q.workspace_limit = 0;
  q.type = ScalarType::f32;  // the condition is not measured
  EXPECT_FALSE(Gesvd::plan(q).plan.values_by_vectors);
}

TEST(SvdPlan, AllVectorsOrNone) {
  auto q = request<Gesvd>(Platform::cpu, 100, 2);
  q.vectors = 3;
  EXPECT_THROW(Gesvd::plan(q), Error);
}

}  // namespace
}  // namespace jaxmg::testing
