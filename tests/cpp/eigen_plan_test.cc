#include "backends/eigen_plan.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"
#include "eigenproblems.h"
#include "gtest/gtest.h"
#include "hermitian.h"
#include "ranks.h"

namespace jaxmg::testing {
namespace {

EigenRequest request(Platform platform, std::int64_t n, std::int64_t ranks, bool vectors = true) {
  return {n, ScalarType::f64, ranks, 0, platform, 1, 0, vectors ? n : 0};
}

TEST(EigenPlan, EveryRequestIsMetByAValidPlan) {
  for (const Platform platform : {Platform::cpu, Platform::cuda}) {
    for (const ScalarType type : {ScalarType::f32, ScalarType::f64, ScalarType::c64, ScalarType::c128}) {
      for (const std::int64_t ranks : {1, 2, 3, 4, 8}) {
        for (const std::int64_t n : {1, 2, 5, 100, 1000, 4096, 50000, 131072}) {
          for (const std::int64_t tile : {0, 1, 7, 256, 100000}) {
            for (const bool vectors : {true, false}) {
              EigenRequest q = request(platform, n, ranks, vectors);
              q.type = type;
              q.tile = tile;
              SCOPED_TRACE(::testing::Message() << "n = " << n << ", " << ranks << " ranks, tile " << tile);
              const EigenPlan plan = make_eigen_plan(q);
              EXPECT_GE(plan.tile, 1);
              EXPECT_LE(
                  TileColumns(n, shard_of(n, static_cast<int>(ranks)), plan.tile, static_cast<int>(ranks)).count(),
                  1024 + ranks);
              EXPECT_GE(plan.blocking.b, 1);
              EXPECT_EQ(plan.blocking.depth % plan.blocking.b, 0);
              EXPECT_GE(plan.blocking.diamonds,
                        BackTransformationWorkspace<double>::least_diamonds(n, plan.blocking.b));
              EXPECT_GE(plan.blocking.columns, 1);
              EXPECT_GE(plan.blocking.kept * ranks, plan.blocking.b);
              EXPECT_LE(plan.blocking.kept, plan.blocking.b);
              EXPECT_EQ(plan.shard_bytes, (n + ranks - 1) / ranks * n * size_of(type));
              EXPECT_GT(plan.seconds, 0);
            }
          }
        }
      }
    }
  }
}

// What the planner promises is what the backend carves, and it solves with what the planner chose.
TEST(EigenPlan, TheBackendRunsInTheWorkspaceOfThePlan) {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    for (const std::int64_t n : {1, 5, 40, 131}) {
      for (const std::int64_t tile : {0, 1, 8}) {
        for (const bool vectors : {true, false}) {
          EigenRequest q = request(Platform::cpu, n, ranks, vectors);
          q.tile = tile;
          SCOPED_TRACE(::testing::Message() << "n = " << n << ", " << ranks << " ranks, tile " << tile);
          const EigenPlan plan = make_eigen_plan(q);
          const EigenShape shape{n, ranks, plan.tile, plan.blocking};
          EXPECT_EQ(
              TiledSyevdWorkspace<double>(Arena(), shape.layout(), plan.blocking, vectors ? shape.layout().shard() : 0)
                  .bytes,
              plan.workspace_bytes);
          HostRanks host(ranks);
          const auto a = random_hermitian<double>(n, 1);
          const auto found = eigen(host, a, shape, vectors);
          EXPECT_EQ(found.status[0], 0);
          if (vectors) {
            EXPECT_LE(residual(a, found.z, values(found.w[0])), 30);
          }
        }
      }
    }
  }
}

// One rank solves small problems, unless tiles are asked for or the workspace would not hold the whole matrix.
TEST(EigenPlan, OneRankSolvesWhatIsSmall) {
  for (const Platform platform : {Platform::cpu, Platform::cuda}) {
    for (const bool vectors : {true, false}) {
      bool last = true;
      for (std::int64_t n = 1; n <= 16384; n *= 2) {
        const bool solo = make_eigen_plan(request(platform, n, 4, vectors)).blocking.solo;
        EXPECT_TRUE(last || !solo) << n;
        last = solo;
      }
      EXPECT_FALSE(last);
      EigenRequest q = request(platform, 200, 4, vectors);
      const EigenPlan alone = make_eigen_plan(q);
      EXPECT_TRUE(alone.blocking.solo);
      EXPECT_FALSE(make_eigen_plan(request(platform, 200, 1, vectors)).blocking.solo);
      q.workspace_limit = alone.workspace_bytes - 1;
      EXPECT_FALSE(make_eigen_plan(q).blocking.solo);
      q.workspace_limit = 0;
      q.tile = 50;
      EXPECT_FALSE(make_eigen_plan(q).blocking.solo);
    }
  }
}

// Eigenvectors take at most six times the shard, A and Z included, where matrices are large.
TEST(EigenPlan, MemoryIsBelowSixShards) {
  for (const ScalarType type : {ScalarType::f32, ScalarType::f64, ScalarType::c64, ScalarType::c128}) {
    for (const std::int64_t n : {4096, 8192, 16384, 32768, 65536}) {
      for (const std::int64_t ranks : {1, 2, 4, 8}) {
        EigenRequest q = request(Platform::cuda, n, ranks);
        q.type = type;
        const EigenPlan plan = make_eigen_plan(q);
        EXPECT_LE(plan.workspace_bytes + 2 * plan.shard_bytes, 6 * plan.shard_bytes)
            << "n = " << n << " on " << ranks << " ranks, type " << static_cast<int>(type);
      }
    }
  }
}

// Of 141 GB of an H200, 130 hold A (donated), Z and a workspace in which Q2 is still applied to all columns at once.
TEST(EigenPlan, TheLargestMatrixFitsOnFourDevices) {
  EigenRequest q = request(Platform::cuda, 131072, 4);
  const EigenPlan free = make_eigen_plan(q);
  q.workspace_limit = 130'000'000'000 - free.shard_bytes - free.vector_bytes;
  EXPECT_GT(free.workspace_bytes, q.workspace_limit);
  const EigenPlan plan = make_eigen_plan(q);
  EXPECT_LE(plan.workspace_bytes, q.workspace_limit);
  EXPECT_EQ(plan.blocking.kept, plan.blocking.b / 4);
  EXPECT_EQ(plan.blocking.columns, q.n / 4);
}

// Any limit is either kept or refused with the least that would do, which then does.
TEST(EigenPlan, ALimitIsKeptOrRefused) {
  for (const Platform platform : {Platform::cpu, Platform::cuda}) {
    for (const bool vectors : {true, false}) {
      const EigenPlan free = make_eigen_plan(request(platform, 16384, 4, vectors));
      for (std::int64_t limit = 2 * free.workspace_bytes; limit > 1000; limit = limit * 4 / 5) {
        EigenRequest q = request(platform, 16384, 4, vectors);
        q.workspace_limit = limit;
        SCOPED_TRACE(::testing::Message() << "limit " << limit);
        try {
          EXPECT_LE(make_eigen_plan(q).workspace_bytes, limit);
        } catch (const Error& error) {
          EXPECT_EQ(error.code(), ErrorCode::resource_exhausted);
          const std::string text = error.what();
          q.workspace_limit = std::stoll(text.substr(text.find(" is ") + 4));
          EXPECT_GT(q.workspace_limit, limit);
          EXPECT_EQ(make_eigen_plan(q).workspace_bytes, q.workspace_limit);
        }
      }
    }
  }
}

TEST(EigenPlan, LargerProblemsTakeLongerAndValuesAloneLess) {
  for (const Platform platform : {Platform::cpu, Platform::cuda}) {
    double last = 0;
    for (const std::int64_t n : {4096, 8192, 16384, 32768, 65536, 131072}) {
      const double seconds = make_eigen_plan(request(platform, n, 4)).seconds;
      EXPECT_GT(seconds, last) << n;
      EXPECT_LT(make_eigen_plan(request(platform, n, 4, false)).seconds, seconds) << n;
      last = seconds;
    }
  }
}

TEST(EigenPlan, RefusesSizesOutOfRange) {
  const auto refused = [](const EigenRequest& q) {
    try {
      make_eigen_plan(q);
      return false;
    } catch (const Error& error) {
      return error.code() == ErrorCode::invalid_argument;
    }
  };
  EXPECT_TRUE(refused(request(Platform::cpu, 0, 1)));
  EXPECT_TRUE(refused(request(Platform::cpu, 10, 0)));
  EXPECT_TRUE(refused(request(Platform::cpu, std::int64_t{1} << 31, 4)));
  EigenRequest negative = request(Platform::cpu, 10, 2);
  negative.tile = -1;
  EXPECT_TRUE(refused(negative));
}

}  // namespace
}  // namespace jaxmg::testing
