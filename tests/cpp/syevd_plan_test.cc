#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/fields.h"
#include "eigenproblems.h"
#include "gtest/gtest.h"
#include "hermitian.h"
#include "ranks.h"
#include "routines/syevd.h"

namespace jaxmg::testing {
namespace {

using routines::Syevd;
using routines::SyevdProblem;
using EigenPlan = Planned<Syevd::Plan>;

SyevdProblem request(Platform platform, std::int64_t n, std::int64_t ranks, bool vectors = true) {
  SyevdProblem q;
  q.platform = platform;
  q.n = n;
  q.ranks = ranks;
  q.vectors = vectors ? n : 0;
  return q;
}

TEST(SyevdPlan, EveryRequestHasAValidPlan) {
  for (const Platform platform : {Platform::cpu, Platform::cuda}) {
    for (const ScalarType type : {ScalarType::f32, ScalarType::f64, ScalarType::c64, ScalarType::c128}) {
      for (const std::int64_t ranks : {1, 2, 3, 4, 8}) {
        for (const std::int64_t n : {1, 2, 5, 100, 1000, 4096, 50000, 131072}) {
          for (const std::int64_t tile : {0, 1, 7, 256, 100000}) {
            for (const bool vectors : {true, false}) {
              SyevdProblem q = request(platform, n, ranks, vectors);
              q.type = type;
              q.tile = tile;
              SCOPED_TRACE(::testing::Message() << "n = " << n << ", " << ranks << " ranks, tile " << tile);
              const EigenPlan made = Syevd::plan(q);
              EXPECT_GE(made.plan.tile, 1);
              EXPECT_LE(
                  TileColumns(n, shard_of(n, static_cast<int>(ranks)), made.plan.tile, static_cast<int>(ranks)).count(),
                  1024 + ranks);
              EXPECT_GE(made.plan.blocking.b, 1);
              EXPECT_EQ(made.plan.blocking.depth % made.plan.blocking.b, 0);
              EXPECT_GE(made.plan.blocking.diamonds,
                        BackTransformationWorkspace<double>::least_diamonds(n, made.plan.blocking.b));
              EXPECT_GE(made.plan.blocking.columns, 1);
              EXPECT_GE(made.plan.blocking.kept * ranks, made.plan.blocking.b);
              EXPECT_LE(made.plan.blocking.kept, made.plan.blocking.b);
              EXPECT_EQ(made.shard_bytes, (n + ranks - 1) / ranks * n * size_of(type));
              EXPECT_GT(made.seconds, 0);
            }
          }
        }
      }
    }
  }
}

// The planned workspace equals what the backend carves, and the backend solves with the planned blocking.
TEST(SyevdPlan, TheBackendRunsInTheWorkspaceOfThePlan) {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    for (const std::int64_t n : {1, 5, 40, 131}) {
      for (const std::int64_t tile : {0, 1, 8}) {
        for (const bool vectors : {true, false}) {
          SyevdProblem q = request(Platform::cpu, n, ranks, vectors);
          q.tile = tile;
          SCOPED_TRACE(::testing::Message() << "n = " << n << ", " << ranks << " ranks, tile " << tile);
          const EigenPlan made = Syevd::plan(q);
          const EigenShape shape{n, ranks, made.plan.tile, made.plan.blocking, made.plan.solo()};
          EXPECT_EQ(syevd_call<double>(shape, {0, q.vectors}).bytes(), made.workspace_bytes);
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

// One rank solves small problems, unless a tile is requested or the workspace cannot hold the whole matrix.
TEST(SyevdPlan, OneRankSolvesSmallProblems) {
  for (const Platform platform : {Platform::cpu, Platform::cuda}) {
    for (const bool vectors : {true, false}) {
      bool last = true;
      for (std::int64_t n = 1; n <= 16384; n *= 2) {
        const bool solo = Syevd::plan(request(platform, n, 4, vectors)).plan.solo();
        EXPECT_TRUE(last || !solo) << n;
        last = solo;
      }
      EXPECT_FALSE(last);
      SyevdProblem q = request(platform, 200, 4, vectors);
      const EigenPlan alone = Syevd::plan(q);
      EXPECT_TRUE(alone.plan.solo());
      EXPECT_FALSE(Syevd::plan(request(platform, 200, 1, vectors)).plan.solo());
      q.workspace_limit = alone.workspace_bytes - 1;
      EXPECT_FALSE(Syevd::plan(q).plan.solo());
      q.workspace_limit = 0;
      q.tile = 50;
      EXPECT_FALSE(Syevd::plan(q).plan.solo());
    }
  }
}

// Eigenvectors take at most six times the shard, A and Z included, where matrices are large.
TEST(SyevdPlan, MemoryIsBelowSixShards) {
  for (const ScalarType type : {ScalarType::f32, ScalarType::f64, ScalarType::c64, ScalarType::c128}) {
    for (const std::int64_t n : {4096, 8192, 16384, 32768, 65536}) {
      for (const std::int64_t ranks : {1, 2, 4, 8}) {
        SyevdProblem q = request(Platform::cuda, n, ranks);
        q.type = type;
        const EigenPlan made = Syevd::plan(q);
        EXPECT_LE(made.workspace_bytes + 2 * made.shard_bytes, 6 * made.shard_bytes)
            << "n = " << n << " on " << ranks << " ranks, type " << static_cast<int>(type);
      }
    }
  }
}

// Of 141 GB of an H200, 130 hold A (donated), Z and a workspace in which Q2 is still applied to all columns at once.
TEST(SyevdPlan, TheLargestMatrixFitsOnFourDevices) {
  SyevdProblem q = request(Platform::cuda, 131072, 4);
  const EigenPlan free = Syevd::plan(q);
  q.workspace_limit = 130'000'000'000 - free.shard_bytes - free.rhs_bytes;
  EXPECT_GT(free.workspace_bytes, q.workspace_limit);
  const EigenPlan made = Syevd::plan(q);
  EXPECT_LE(made.workspace_bytes, q.workspace_limit);
  EXPECT_EQ(made.plan.blocking.kept, made.plan.blocking.b / 4);
  EXPECT_EQ(made.plan.blocking.columns, q.n / 4);
}

// Any limit is either kept, or rejected with the least sufficient limit, which is then kept.
TEST(SyevdPlan, ALimitIsKeptOrRejected) {
  for (const Platform platform : {Platform::cpu, Platform::cuda}) {
    for (const bool vectors : {true, false}) {
      const EigenPlan free = Syevd::plan(request(platform, 16384, 4, vectors));
      for (std::int64_t limit = 2 * free.workspace_bytes; limit > 1000; limit = limit * 4 / 5) {
        SyevdProblem q = request(platform, 16384, 4, vectors);
        q.workspace_limit = limit;
        SCOPED_TRACE(::testing::Message() << "limit " << limit);
        try {
          EXPECT_LE(Syevd::plan(q).workspace_bytes, limit);
        } catch (const Error& error) {
          EXPECT_EQ(error.code(), ErrorCode::resource_exhausted);
          const std::string text = error.what();
          q.workspace_limit = std::stoll(text.substr(text.find(" is ") + 4));
          EXPECT_GT(q.workspace_limit, limit);
          EXPECT_EQ(Syevd::plan(q).workspace_bytes, q.workspace_limit);
        }
      }
    }
  }
}

// Products of the reduction to a band have scratch on GPUs, unless the shard is small.
TEST(SyevdPlan, OnlyLargeShardsOfGpusHaveScratch) {
  for (const bool vectors : {true, false}) {
    EXPECT_EQ(Syevd::plan(request(Platform::cpu, 16384, 4, vectors)).plan.blocking.scratch, 0);
    EXPECT_EQ(Syevd::plan(request(Platform::cuda, 4096, 4, vectors)).plan.blocking.scratch, 0);
    const EigenPlan made = Syevd::plan(request(Platform::cuda, 16384, 4, vectors));
    EXPECT_EQ(made.plan.blocking.scratch, 32 << 20);
  }
}

// A limit takes the scratch before anything that costs more time, and only where it frees memory.
TEST(SyevdPlan, ALimitTakesTheScratchFirst) {
  const auto limited = [](SyevdProblem q, std::int64_t limit) {
    q.workspace_limit = limit;
    return Syevd::plan(q);
  };
  // On one rank and without eigenvectors, the reduction needs the most memory of all stages.
  SyevdProblem q = request(Platform::cuda, 16384, 1, false);
  const EigenPlan free = Syevd::plan(q);
  for (const std::int64_t spared : {std::int64_t{1}, free.plan.blocking.scratch}) {
    const EigenPlan made = limited(q, free.workspace_bytes - spared);
    EXPECT_EQ(made.workspace_bytes, free.workspace_bytes - free.plan.blocking.scratch);
    SyevdBlocking expected = free.plan.blocking;
    expected.scratch = 0;
    Words words, expected_words;
    encode(made.plan.blocking, words);
    encode(expected, expected_words);
    EXPECT_EQ(words, expected_words);
  }
  EXPECT_LT(limited(q, free.workspace_bytes - free.plan.blocking.scratch - 1).plan.blocking.delay,
            free.plan.blocking.delay);
  // With eigenvectors, other stages need more.
  q.vectors = q.n;
  const EigenPlan with_vectors = Syevd::plan(q);
  EXPECT_EQ(limited(q, with_vectors.workspace_bytes - 1).plan.blocking.scratch, with_vectors.plan.blocking.scratch);
}

TEST(SyevdPlan, LargerProblemsTakeLongerAndValuesAloneLess) {
  for (const Platform platform : {Platform::cpu, Platform::cuda}) {
    double last = 0;
    for (const std::int64_t n : {4096, 8192, 16384, 32768, 65536, 131072}) {
      const double seconds = Syevd::plan(request(platform, n, 4)).seconds;
      EXPECT_GT(seconds, last) << n;
      EXPECT_LT(Syevd::plan(request(platform, n, 4, false)).seconds, seconds) << n;
      last = seconds;
    }
  }
}

TEST(SyevdPlan, RejectsSizesOutOfRange) {
  const auto refused = [](const SyevdProblem& q) {
    try {
      Syevd::plan(q);
      return false;
    } catch (const Error& error) {
      return error.code() == ErrorCode::invalid_argument;
    }
  };
  EXPECT_TRUE(refused(request(Platform::cpu, 0, 1)));
  EXPECT_TRUE(refused(request(Platform::cpu, 10, 0)));
  EXPECT_TRUE(refused(request(Platform::cpu, std::int64_t{1} << 31, 4)));
  SyevdProblem negative = request(Platform::cpu, 10, 2);
  negative.tile = -1;
  EXPECT_TRUE(refused(negative));
}

}  // namespace
}  // namespace jaxmg::testing
