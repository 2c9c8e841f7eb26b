#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"
#include "gtest/gtest.h"
#include "matrices.h"
#include "ranks.h"
#include "residuals.h"
#include "routines/services.h"
#include "routines/table.h"
#include "solves.h"

namespace jaxmg::testing {
namespace {

using routines::Posv;
using Made = Planned<SystemPlan>;

SystemProblem request(Platform platform, std::int64_t n, std::int64_t nrhs, std::int64_t ranks) {
  SystemProblem q;
  q.platform = platform;
  q.n = n;
  q.nrhs = nrhs;
  q.ranks = ranks;
  q.one_rank_up_to = 0;  // see one_rank_test.cc
  return q;
}

// Sizes from one column to a full machine, on both platforms.
std::vector<SystemProblem> requests() {
  std::vector<SystemProblem> all;
  for (const Platform platform : {Platform::cpu, Platform::cuda}) {
    for (const std::int64_t ranks : {1, 2, 3, 4, 8}) {
      for (const std::int64_t n : {1, 2, 5, 100, 1000, 4096, 16384, 50000, 65536}) {
        for (const std::int64_t nrhs : {1, 64, 65, 1000}) {
          for (const std::int64_t tile : {0, 1, 7, 256, 100000}) {
            SystemProblem q = request(platform, n, nrhs, ranks);
            q.tile = tile;
            all.push_back(q);
          }
        }
      }
    }
  }
  return all;
}

std::string describe(const SystemProblem& q) {
  return "n = " + std::to_string(q.n) + ", nrhs " + std::to_string(q.nrhs) + ", " + std::to_string(q.ranks) +
         " ranks, tile " + std::to_string(q.tile) + (q.platform == Platform::cpu ? ", CPU" : ", CUDA");
}

Shape shape_of(const SquareProblem& q, const BlockColumnPlan& plan) {
  return {q.n, static_cast<int>(q.ranks), plan.tile, plan.depth, plan.slots};
}

TEST(Plan, EveryRequestHasAValidPlan) {
  for (const SystemProblem& q : requests()) {
    SCOPED_TRACE(describe(q));
    const Made made = Posv::plan(q);
    const SystemPlan& plan = made.plan;
    EXPECT_GE(plan.tile, 1);
    EXPECT_GE(plan.depth, plan.tile);
    EXPECT_GE(plan.slots, 1);
    EXPECT_EQ(plan.largest_potrf, q.ranks == 1 ? q.n : plan.depth);
    EXPECT_GE(made.workspace_bytes, 0);
    EXPECT_EQ(made.shard_bytes, (q.n + q.ranks - 1) / q.ranks * q.n * 8);
    EXPECT_GT(made.seconds, 0);
    if (q.ranks == 1) {
      EXPECT_FALSE(plan.distributed_rhs);
    }
    if (plan.distributed_rhs) {
      EXPECT_EQ(made.rhs_bytes, (q.nrhs + q.ranks - 1) / q.ranks * q.n * 8);
    } else {
      EXPECT_EQ(made.rhs_bytes, q.nrhs * q.n * 8);
    }
  }
}

// A requested tile is used, unless it exceeds a shard or cuts the matrix into too many tiles.
TEST(Plan, UsesTheRequestedTile) {
  for (const std::int64_t tile : {16, 100, 256, 2048}) {
    SystemProblem q = request(Platform::cuda, 16384, 1, 4);
    q.tile = tile;
    EXPECT_EQ(Posv::plan(q).plan.tile, tile);
  }
}

TEST(Plan, ChosenTilesAvoidRaggedTiles) {
  for (const std::int64_t n : {4096, 16384, 32768, 65536, 131072, 245760}) {
    EXPECT_EQ(n / 4 % Posv::plan(request(Platform::cuda, n, 1, 4)).plan.tile, 0) << n;
  }
}

TEST(Plan, HasAboutAThousandTilesAtMost) {
  for (const SystemProblem& q : requests()) {
    SCOPED_TRACE(describe(q));
    EXPECT_LE(shape_of(q, Posv::plan(q).plan).layout().count(), 1024 + q.ranks);
  }
}

// The planned workspace equals what the backend carves: it runs in exactly that many bytes, and in no fewer.
TEST(Plan, TheBackendNeedsExactlyTheWorkspaceOfThePlan) {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    for (const std::int64_t n : {5, 40, 131}) {
      for (const std::int64_t nrhs : {1, 70}) {
        for (const std::int64_t tile : {0, 1, 8}) {
          SystemProblem q = request(Platform::cpu, n, nrhs, ranks);
          q.tile = tile;
          SCOPED_TRACE(describe(q));
          const Made made = Posv::plan(q);
          const SystemPlan& plan = made.plan;
          const auto a = positive_definite<double>(n, 1), b = random_matrix<double>(n, nrhs, 2);
          const bool distributed = plan.distributed_rhs;
          HostRanks enough(ranks), too_few(ranks);
          const auto solution = solve(enough, a, b, shape_of(q, plan), distributed, made.workspace_bytes);
          EXPECT_LE(solve_error(a, distributed ? side_by_side(solution.x, nrhs) : solution.x[0], b), 3);
          EXPECT_THROW(solve(too_few, a, b, shape_of(q, plan), distributed, made.workspace_bytes - 1), Error);
        }
      }
    }
  }
}

// The same for routines that work on a factor.
TEST(Plan, RoutinesOnFactorsNeedExactlyTheWorkspaceOfThePlan) {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    for (const std::int64_t n : {5, 131}) {
      for (const std::int64_t tile : {0, 8}) {
        SystemProblem q = request(Platform::cpu, n, 1, ranks);
        q.tile = tile;
        SCOPED_TRACE(describe(q));
        const auto a = positive_definite<double>(n, 4), b = random_matrix<double>(n, 70, 5);
        std::int64_t factor_tile = 0;  // used by the routines on the factor
        // Runs work(ranks, shape, bytes) with the planned workspace of R, and with less.
        const auto exactly = [&]<class R>(R, auto&& work) {
          typename R::Problem problem{};
          static_cast<SquareProblem&>(problem) = q;
          if constexpr (requires { problem.nrhs; }) problem.nrhs = b.columns();
          const auto made = R::plan(problem);
          if (factor_tile > 0) {
            EXPECT_EQ(made.plan.tile, factor_tile);
          }
          q.tile = factor_tile = made.plan.tile;
          HostRanks enough(ranks), too_few(ranks);
          const Shape shape = shape_of(q, made.plan);
          EXPECT_THROW(work(too_few, shape, made.workspace_bytes - Arena::alignment), Error);
          return work(enough, shape, made.workspace_bytes);
        };
        const auto factor = exactly(routines::Potrf{}, [&](HostRanks& r, const Shape& shape, std::int64_t bytes) {
          return make_factor(r, a, shape, bytes).shards;
        });
        exactly(routines::Potri{},
                [&](HostRanks& r, const Shape& shape, std::int64_t bytes) { return invert(r, factor, shape, bytes); });
        exactly(routines::Lower{}, [&](HostRanks& r, const Shape& shape, std::int64_t bytes) {
          return rows_of_factor(r, factor, shape, bytes);
        });
        exactly(routines::Potrs{}, [&](HostRanks& r, const Shape& shape, std::int64_t bytes) {
          return solve_with_factor(r, factor, b, shape, Sweeps::both, ranks > 1, bytes);
        });
      }
    }
  }
}

// Bytes that the engine needs in addition if there are several processes.
std::int64_t bytes_between(std::int64_t processes) {
  return engine_scratch_bytes(Platform::cuda, 0, processes) - engine_scratch_bytes(Platform::cuda, 0, 1);
}

TEST(Plan, WorkspaceIsBelowHalfTheShard) {
  for (const ScalarType type : {ScalarType::f32, ScalarType::f64, ScalarType::c64, ScalarType::c128}) {
    for (const std::int64_t n : {16384, 20000, 32768, 49152, 65535, 65536}) {
      for (const std::int64_t processes : {1, 4}) {
        if (type == ScalarType::f32 && n < 32768) continue;  // buffers of fixed size count for more in small shards
        SystemProblem q = request(Platform::cuda, n, 1, 4);
        q.type = type;
        q.processes = processes;
        const Made plan = Posv::plan(q);
        EXPECT_LE(2 * (plan.workspace_bytes - bytes_between(processes)), plan.shard_bytes)
            << "n = " << n << ", type " << static_cast<int>(type) << ", " << processes << " processes";
      }
    }
  }
}

TEST(Plan, SeveralProcessesHaveTheBlockingOfOne) {
  for (const ScalarType type : {ScalarType::f32, ScalarType::f64, ScalarType::c64, ScalarType::c128}) {
    for (const std::int64_t n : {4096, 16384, 20000, 32768, 65536}) {
      SystemProblem q = request(Platform::cuda, n, 1, 4);
      q.type = type;
      const Made one = Posv::plan(q);
      q.processes = 4;
      const Made several = Posv::plan(q);
      EXPECT_EQ(several.plan.tile, one.plan.tile) << n;
      EXPECT_EQ(several.plan.depth, one.plan.depth) << n;
      EXPECT_EQ(several.plan.slots, one.plan.slots) << n;
      EXPECT_EQ(several.workspace_bytes, one.workspace_bytes + bytes_between(4)) << n;
    }
  }
}

TEST(Plan, DepthGrowsWithTheMatrix) {
  std::int64_t last = 0;
  for (const std::int64_t n : {4096, 16384, 32768, 65536, 131072}) {
    const std::int64_t depth = Posv::plan(request(Platform::cuda, n, 1, 4)).plan.depth;
    EXPECT_GE(depth, last) << n;
    last = depth;
  }
  EXPECT_GE(last, 2048);
}

// Any limit is either kept, or rejected with the least sufficient limit, which is then kept.
TEST(Plan, ALimitIsKeptOrRejected) {
  for (const Platform platform : {Platform::cpu, Platform::cuda}) {
    for (const std::int64_t nrhs : {1, 1000}) {
      const Made free = Posv::plan(request(platform, 32768, nrhs, 4));
      for (std::int64_t limit = 2 * free.workspace_bytes; limit > 0; limit = limit * 2 / 3) {
        SystemProblem q = request(platform, 32768, nrhs, 4);
        q.workspace_limit = limit;
        SCOPED_TRACE(describe(q) + ", limit " + std::to_string(limit));
        try {
          const Made plan = Posv::plan(q);
          EXPECT_LE(plan.workspace_bytes, limit);
        } catch (const Error& error) {
          EXPECT_EQ(error.code(), ErrorCode::resource_exhausted);
          const std::string text = error.what();
          const std::size_t at = text.find(" is ");
          ASSERT_NE(at, std::string::npos) << text;
          q.workspace_limit = std::stoll(text.substr(at + 4));
          EXPECT_GT(q.workspace_limit, limit);
          EXPECT_EQ(Posv::plan(q).workspace_bytes, q.workspace_limit);
        }
      }
    }
  }
}

TEST(Plan, LargerProblemsTakeLonger) {
  for (const Platform platform : {Platform::cpu, Platform::cuda}) {
    double last = 0;
    for (const std::int64_t n : {4096, 8192, 16384, 32768, 65536, 131072}) {
      const double seconds = Posv::plan(request(platform, n, 1, 4)).seconds;
      EXPECT_GT(seconds, last) << n;
      last = seconds;
    }
  }
}

// Rows of any length are dealt: the workspace follows them, in the bytes that dealing needs.
TEST(Plan, RedistributionRunsInTheWorkspaceOfThePlan) {
  using services::Redistribute;
  for (const int ranks : {1, 2, 4}) {
    for (const std::int64_t shard : {1, 6, 13}) {
      for (const std::int64_t tile : {1, 4, 20}) {
        const std::int64_t row = 9;
        SCOPED_TRACE(::testing::Message() << ranks << " ranks, shard " << shard << ", tile " << tile);
        Redistribute::Problem q;
        q.ranks = ranks;
        q.tile = tile;
        q.n = shard * ranks;
        q.row_length = row;
        const auto made = Redistribute::plan(q);
        const TileColumns layout = q.layout(made.plan.tile);
        const auto a = random_matrix<double>(row, layout.order(), 3);
        HostRanks host(ranks);
        auto shards = host.matrix<double>(row, shard);
        auto workspace = host.matrix<std::byte>(made.workspace_bytes, 1);
        upload(shards, in_blocks(a, layout));
        host.run([&](HostEngine& engine) {
          Redistribute::Workspace<double> w(arena_over(workspace.view(engine.rank())), q, made.plan);
          Redistribute::run<double>(engine, q, made.plan, w, shards.view(engine.rank()));
        });
        EXPECT_EQ(collected(download(shards, ranks), layout), a);
      }
    }
  }
}

TEST(Plan, RejectsSizesOutOfRange) {
  const auto refused = [](SystemProblem q) {
    try {
      Posv::plan(q);
      return false;
    } catch (const Error& error) {
      return error.code() == ErrorCode::invalid_argument;
    }
  };
  EXPECT_TRUE(refused(request(Platform::cpu, 0, 1, 1)));
  EXPECT_TRUE(refused(request(Platform::cpu, 10, 0, 1)));
  EXPECT_TRUE(refused(request(Platform::cpu, 10, 1, 0)));
  EXPECT_TRUE(refused(request(Platform::cpu, std::int64_t{1} << 31, 1, 4)));
  SystemProblem negative = request(Platform::cpu, 10, 1, 2);
  negative.tile = -1;
  EXPECT_TRUE(refused(negative));
}

}  // namespace
}  // namespace jaxmg::testing
