#include "backends/plan.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"
#include "gtest/gtest.h"
#include "matrices.h"
#include "ranks.h"
#include "residuals.h"
#include "solves.h"

namespace jaxmg::testing {
namespace {

PlanRequest request(Platform platform, std::int64_t n, std::int64_t nrhs, std::int64_t ranks) {
  return {Routine::posv, n, nrhs, ScalarType::f64, ranks, 0, platform, 1, 0};
}

// Sizes from one column to what fills a machine, over both platforms.
std::vector<PlanRequest> requests() {
  std::vector<PlanRequest> all;
  for (const Platform platform : {Platform::cpu, Platform::cuda}) {
    for (const std::int64_t ranks : {1, 2, 3, 4, 8}) {
      for (const std::int64_t n : {1, 2, 5, 100, 1000, 4096, 16384, 50000, 65536}) {
        for (const std::int64_t nrhs : {1, 64, 65, 1000}) {
          for (const std::int64_t tile : {0, 1, 7, 256, 100000}) {
            PlanRequest q = request(platform, n, nrhs, ranks);
            q.tile = tile;
            all.push_back(q);
          }
        }
      }
    }
  }
  return all;
}

std::string describe(const PlanRequest& q) {
  return "n = " + std::to_string(q.n) + ", nrhs " + std::to_string(q.nrhs) + ", " + std::to_string(q.ranks) +
         " ranks, tile " + std::to_string(q.tile) + (q.platform == Platform::cpu ? ", CPU" : ", CUDA");
}

Shape shape_of(const PlanRequest& q, const Plan& plan) {
  return {q.n, static_cast<int>(q.ranks), plan.tile, plan.pivot, plan.slots};
}

TEST(Plan, EveryRequestIsMetByAValidPlan) {
  for (const PlanRequest& q : requests()) {
    SCOPED_TRACE(describe(q));
    const Plan plan = make_plan(q);
    EXPECT_GE(plan.tile, 1);
    EXPECT_GE(plan.pivot, plan.tile);
    EXPECT_GE(plan.slots, 1);
    EXPECT_GE(plan.workspace_bytes, 0);
    EXPECT_EQ(plan.shard_bytes, (q.n + q.ranks - 1) / q.ranks * q.n * 8);
    EXPECT_GT(plan.seconds, 0);
    if (q.ranks == 1) {
      EXPECT_EQ(plan.distributed_rhs, 0);
    }
    if (plan.distributed_rhs != 0) {
      EXPECT_EQ(plan.rhs_bytes, (q.nrhs + q.ranks - 1) / q.ranks * q.n * 8);
    } else {
      EXPECT_EQ(plan.rhs_bytes, q.nrhs * q.n * 8);
    }
  }
}

// A tile that is asked for is used, unless it exceeds a shard or cuts the matrix into more tiles than can be handled.
TEST(Plan, UsesTheTileThatIsAskedFor) {
  for (const std::int64_t tile : {16, 100, 256, 2048}) {
    PlanRequest q = request(Platform::cuda, 16384, 1, 4);
    q.tile = tile;
    EXPECT_EQ(make_plan(q).tile, tile);
  }
}

TEST(Plan, ChosenTilesLeaveNoRaggedOnesWhereTheyCan) {
  for (const std::int64_t n : {4096, 16384, 32768, 65536, 131072, 245760}) {
    EXPECT_EQ(n / 4 % make_plan(request(Platform::cuda, n, 1, 4)).tile, 0) << n;
  }
}

TEST(Plan, HasNoMoreThanAThousandTilesOrSo) {
  for (const PlanRequest& q : requests()) {
    SCOPED_TRACE(describe(q));
    EXPECT_LE(shape_of(q, make_plan(q)).layout().count(), 1024 + q.ranks);
  }
}

// What the planner promises is what the backend carves: it runs in exactly that, and not in less.
TEST(Plan, TheBackendNeedsExactlyTheWorkspaceOfThePlan) {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    for (const std::int64_t n : {5, 40, 131}) {
      for (const std::int64_t nrhs : {1, 70}) {
        for (const std::int64_t tile : {0, 1, 8}) {
          PlanRequest q = request(Platform::cpu, n, nrhs, ranks);
          q.tile = tile;
          SCOPED_TRACE(describe(q));
          const Plan plan = make_plan(q);
          const auto a = positive_definite<double>(n, 1), b = random_matrix<double>(n, nrhs, 2);
          const bool distributed = plan.distributed_rhs != 0;
          HostRanks enough(ranks), too_few(ranks);
          const auto solution = solve(enough, a, b, shape_of(q, plan), distributed, plan.workspace_bytes);
          EXPECT_LE(solve_error(a, distributed ? side_by_side(solution.x, nrhs) : solution.x[0], b), 3);
          EXPECT_THROW(solve(too_few, a, b, shape_of(q, plan), distributed, plan.workspace_bytes - 1), Error);
        }
      }
    }
  }
}

// As above, for what works on a factor.
TEST(Plan, RoutinesOnFactorsNeedExactlyTheWorkspaceOfThePlan) {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    for (const std::int64_t n : {5, 131}) {
      for (const std::int64_t tile : {0, 8}) {
        PlanRequest q = request(Platform::cpu, n, 1, ranks);
        q.tile = tile;
        const auto planned = [&](Routine routine, std::int64_t nrhs = 1) {
          q.routine = routine;
          q.nrhs = nrhs;
          const Plan plan = make_plan(q);
          q.tile = plan.tile;  // a factor's own is left as it is
          return plan;
        };
        SCOPED_TRACE(describe(q));
        const auto a = positive_definite<double>(n, 4), b = random_matrix<double>(n, 70, 5);
        // work(ranks, shape, bytes) with what is planned, and with less.
        const auto exactly = [&](const Plan& plan, auto&& work) {
          HostRanks enough(ranks), too_few(ranks);
          auto result = work(enough, shape_of(q, plan), plan.workspace_bytes);
          EXPECT_EQ(shape_of(q, plan).tile, q.tile);
          EXPECT_THROW(work(too_few, shape_of(q, plan), plan.workspace_bytes - Arena::alignment), Error);
          return result;
        };
        const auto factor = exactly(planned(Routine::potrf), [&](HostRanks& r, const Shape& shape, std::int64_t bytes) {
          return make_factor(r, a, shape, bytes).shards;
        });
        exactly(planned(Routine::potri),
                [&](HostRanks& r, const Shape& shape, std::int64_t bytes) { return invert(r, factor, shape, bytes); });
        exactly(planned(Routine::lower), [&](HostRanks& r, const Shape& shape, std::int64_t bytes) {
          return rows_of_factor(r, factor, shape, bytes);
        });
        const Plan many = planned(Routine::potrs, b.columns());
        exactly(many, [&](HostRanks& r, const Shape& shape, std::int64_t bytes) {
          return solve_with_factor(r, factor, b, shape, Sweeps::both, many.distributed_rhs != 0, bytes);
        });
      }
    }
  }
}

TEST(Plan, WorkspaceIsBelowHalfTheShard) {
  for (const ScalarType type : {ScalarType::f32, ScalarType::f64, ScalarType::c64, ScalarType::c128}) {
    for (const std::int64_t n : {16384, 20000, 32768, 49152, 65535, 65536}) {
      for (const std::int64_t processes : {1, 4}) {
        if (type == ScalarType::f32 && n < 32768) continue;  // buffers of fixed size count for more in small shards
        PlanRequest q = request(Platform::cuda, n, 1, 4);
        q.type = type;
        q.processes = processes;
        const Plan plan = make_plan(q);
        EXPECT_LE(2 * plan.workspace_bytes, plan.shard_bytes)
            << "n = " << n << ", type " << static_cast<int>(type) << ", " << processes << " processes";
      }
    }
  }
}

TEST(Plan, DepthGrowsWithTheMatrix) {
  std::int64_t last = 0;
  for (const std::int64_t n : {4096, 16384, 32768, 65536, 131072}) {
    const std::int64_t depth = make_plan(request(Platform::cuda, n, 1, 4)).pivot;
    EXPECT_GE(depth, last) << n;
    last = depth;
  }
  EXPECT_GE(last, 2048);
}

// Any limit is either kept or refused with the least that would do, which then does.
TEST(Plan, ALimitIsKeptOrRefused) {
  for (const Platform platform : {Platform::cpu, Platform::cuda}) {
    for (const std::int64_t nrhs : {1, 1000}) {
      const Plan free = make_plan(request(platform, 32768, nrhs, 4));
      for (std::int64_t limit = 2 * free.workspace_bytes; limit > 0; limit = limit * 2 / 3) {
        PlanRequest q = request(platform, 32768, nrhs, 4);
        q.workspace_limit = limit;
        SCOPED_TRACE(describe(q) + ", limit " + std::to_string(limit));
        try {
          const Plan plan = make_plan(q);
          EXPECT_LE(plan.workspace_bytes, limit);
        } catch (const Error& error) {
          EXPECT_EQ(error.code(), ErrorCode::resource_exhausted);
          const std::string text = error.what();
          const std::size_t at = text.find(" is ");
          ASSERT_NE(at, std::string::npos) << text;
          q.workspace_limit = std::stoll(text.substr(at + 4));
          EXPECT_GT(q.workspace_limit, limit);
          EXPECT_EQ(make_plan(q).workspace_bytes, q.workspace_limit);
        }
      }
    }
  }
}

TEST(Plan, LargerProblemsTakeLonger) {
  for (const Platform platform : {Platform::cpu, Platform::cuda}) {
    double last = 0;
    for (const std::int64_t n : {4096, 8192, 16384, 32768, 65536, 131072}) {
      const double seconds = make_plan(request(platform, n, 1, 4)).seconds;
      EXPECT_GT(seconds, last) << n;
      last = seconds;
    }
  }
}

// Rows of any length are dealt: the workspace follows them, in the bytes that dealing needs.
TEST(Plan, RedistributionRunsInTheWorkspaceOfThePlan) {
  for (const int ranks : {1, 2, 4}) {
    for (const std::int64_t shard : {1, 6, 13}) {
      for (const std::int64_t tile : {1, 4, 20}) {
        const std::int64_t row = 9;
        SCOPED_TRACE(::testing::Message() << ranks << " ranks, shard " << shard << ", tile " << tile);
        const Plan plan =
            make_plan({Routine::redistribute, shard * ranks, row, ScalarType::f64, ranks, tile, Platform::cpu, 1, 0});
        const TileColumns layout(shard * ranks, shard, tile, ranks);
        const auto a = random_matrix<double>(row, layout.order(), 3);
        HostRanks host(ranks);
        auto shards = host.matrix<double>(row, shard);
        auto workspace = host.matrix<std::byte>(plan.workspace_bytes, 1);
        upload(shards, in_blocks(a, layout));
        host.run([&](HostEngine& engine) {
          redistribute(engine, layout, shards.view(engine.rank()), arena_over(workspace.view(engine.rank())), false);
        });
        EXPECT_EQ(collected(download(shards, ranks), layout), a);
      }
    }
  }
}

TEST(Plan, RefusesSizesOutOfRange) {
  const auto refused = [](PlanRequest q) {
    try {
      make_plan(q);
      return false;
    } catch (const Error& error) {
      return error.code() == ErrorCode::invalid_argument;
    }
  };
  EXPECT_TRUE(refused(request(Platform::cpu, 0, 1, 1)));
  EXPECT_TRUE(refused(request(Platform::cpu, 10, 0, 1)));
  EXPECT_TRUE(refused(request(Platform::cpu, 10, 1, 0)));
  EXPECT_TRUE(refused(request(Platform::cpu, std::int64_t{1} << 31, 1, 4)));
  PlanRequest negative = request(Platform::cpu, 10, 1, 2);
  negative.tile = -1;
  EXPECT_TRUE(refused(negative));
}

}  // namespace
}  // namespace jaxmg::testing
