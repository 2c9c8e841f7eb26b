#include <cstdint>

#include "gtest/gtest.h"
#include "one_rank_checks.h"
#include "planner/one_rank.h"
#include "ranks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Host, OneRank, OnAllScalars<HostRanks>);

namespace {

template <class R>
typename R::Problem request(Platform platform, std::int64_t n, std::int64_t ranks) {
  typename R::Problem q{};
  q.platform = platform;
  q.n = n;
  q.ranks = ranks;
  return q;
}

template <class R>
bool solo(const typename R::Problem& q) {
  return R::plan(q).plan.solo();
}

TEST(OneRankPlan, IsChosenUpToTheMeasuredOrder) {
  for (const Platform platform : {Platform::cpu, Platform::cuda}) {
    const auto check = [&]<class R>(R) {
      const std::int64_t most = (one_rank_orders(platform).*R::one_rank).f64;
      EXPECT_TRUE(solo<R>(request<R>(platform, most, 4))) << R::name;
      EXPECT_FALSE(solo<R>(request<R>(platform, most + 1, 4))) << R::name;
      EXPECT_FALSE(solo<R>(request<R>(platform, most, 1))) << R::name;
      auto q = request<R>(platform, 100, 4);
      q.tile = 24;
      EXPECT_FALSE(solo<R>(q)) << R::name << ", a requested tile";
      q.tile = 25;
      EXPECT_TRUE(solo<R>(q)) << R::name << ", whole shards";
      q.one_rank_up_to = 99;
      EXPECT_FALSE(solo<R>(q)) << R::name;
    };
    check(routines::Posv{});
    check(routines::Potrf{});
    check(routines::Potrs{});
    check(routines::Potri{});
    check(routines::Gesv{});
    check(routines::Getrf{});
    check(routines::Getrs{});
    check(routines::Getri{});
    check(routines::Trtrs{});
  }
}

// The workspace counts the collected matrix; without room for it, all ranks work.
TEST(OneRankPlan, AWorkspaceLimitIsKept) {
  auto q = request<routines::Posv>(Platform::cuda, 4096, 4);
  const auto free = routines::Posv::plan(q);
  EXPECT_TRUE(free.plan.solo());
  EXPECT_GE(free.workspace_bytes, q.n * q.n * 8);
  q.workspace_limit = free.workspace_bytes - 1;
  const auto made = routines::Posv::plan(q);
  EXPECT_FALSE(made.plan.solo());
  EXPECT_LE(made.workspace_bytes, q.workspace_limit);
}

// The rank that works alone is on one host.
TEST(OneRankPlan, RanksMayBeOnSeveralHosts) {
  const auto check = [](const auto& plan, auto q) {
    const auto near = plan(q);
    q.network.hosts = 2;
    const auto far = plan(q);
    EXPECT_TRUE(far.plan.solo());
    EXPECT_GT(far.seconds, near.seconds);  // to gather the matrix
  };
  check(routines::Posv::plan<routines::Posv::Problem>, request<routines::Posv>(Platform::cuda, 100, 4));
  check(routines::Syevd::plan, request<routines::Syevd>(Platform::cuda, 100, 4));
  check(routines::Gesvd::plan, request<routines::Gesvd>(Platform::cuda, 100, 4));
}

// Many right-hand sides are work for all ranks.
TEST(OneRankPlan, ManyRightHandSidesNeedAllRanks) {
  auto q = request<routines::Potrs>(Platform::cpu, 500, 4);
  q.nrhs = 100;
  EXPECT_TRUE(solo<routines::Potrs>(q));
  q.nrhs = 100000;
  EXPECT_FALSE(solo<routines::Potrs>(q));
}

// A factor of whole shards keeps its layout when read: tiles are at most `widest_tile`.
TEST(OneRankPlan, ReadersKeepTheTileOfAFactor) {
  for (const std::int64_t n : {100, 4000, 6000}) {
    for (const std::int64_t ranks : {2, 3, 4, 8}) {
      auto q = request<routines::Potrf>(Platform::cuda, n, ranks);
      q.one_rank_up_to = 1 << 20;
      const std::int64_t tile = routines::Potrf::plan(q).plan.tile;
      for (const std::int64_t up_to : {0, 1 << 20}) {
        auto reader = request<routines::Potri>(Platform::cuda, n, ranks);
        reader.tile = tile;
        reader.one_rank_up_to = up_to;
        EXPECT_EQ(routines::Potri::plan(reader).plan.tile, tile) << n << " on " << ranks;
      }
    }
  }
}

// On one device as on one rank for all; not where 32-bit sizes of LAPACK end, and never without room.
TEST(OneRankPlan, EigenproblemsAreLeftToTheLibrary) {
  auto q = request<routines::Syevd>(Platform::cpu, 5000, 1);
  const auto library = [](const routines::SyevdProblem& problem) {
    return routines::Syevd::plan(problem).plan.blocking.library;
  };
  q.vectors = q.n;
  EXPECT_TRUE(library(q));
  q.workspace_limit = routines::Syevd::plan(q).workspace_bytes - 1;
  EXPECT_FALSE(library(q));
  q = request<routines::Syevd>(Platform::cpu, most_for_lapack + 1, 1);
  q.vectors = q.n;
  EXPECT_FALSE(library(q));
  q = request<routines::Syevd>(Platform::cuda, 2048, 1);
  q.vectors = q.n;
  EXPECT_TRUE(library(q));
  q.n = q.vectors = 4096;
  EXPECT_FALSE(library(q));
}

}  // namespace
}  // namespace jaxmg::testing
