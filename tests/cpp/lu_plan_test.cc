// Plans of the routines of LU: workspace, agreement of tiles, estimates.
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/error.h"
#include "gtest/gtest.h"
#include "lu_solves.h"
#include "matrices.h"
#include "ranks.h"
#include "residuals.h"
#include "routines/table.h"

namespace jaxmg::testing {
namespace {

using routines::Gesv, routines::Getrf, routines::Getri, routines::Getrs;

template <class R>
typename R::Problem request(Platform platform, std::int64_t n, std::int64_t nrhs, std::int64_t ranks,
                            std::int64_t tile = 0) {
  typename R::Problem q{};
  q.platform = platform;
  q.n = n;
  if constexpr (requires { q.nrhs; }) q.nrhs = nrhs;
  q.ranks = ranks;
  q.tile = tile;
  return q;
}

// The workspace of the plan is what the routine carves, to the last piece.
TEST(LuPlan, RoutinesNeedExactlyTheWorkspaceOfThePlan) {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    for (const std::int64_t n : {5, 131}) {
      for (const std::int64_t tile : {0, 8}) {
        for (const std::int64_t nrhs : {3, 70}) {
          SCOPED_TRACE(::testing::Message() << n << " on " << ranks << " ranks, tile " << tile << ", nrhs " << nrhs);
          const auto a = random_matrix<double>(n, n, 1), b = random_matrix<double>(n, nrhs, 2);
          // work(ranks, call, bytes) with the plan of R, and with less.
          const auto exactly = [&]<class R>(R, std::int64_t asked, auto&& work) {
            CallOf<R, double> call(n, ranks, 0);
            call.problem = request<R>(Platform::cpu, n, nrhs, ranks, asked);
            const auto made = R::plan(call.problem);
            call.plan = made.plan;
            HostRanks enough(ranks), too_few(ranks);
            EXPECT_THROW(work(too_few, call, made.workspace_bytes - Arena::alignment), Error);
            return work(enough, call, made.workspace_bytes);
          };
          const std::int64_t used = Getrf::plan(request<Getrf>(Platform::cpu, n, nrhs, ranks, tile)).plan.tile;
          const auto factor = exactly(Getrf{}, tile, [&](HostRanks& r, const auto& call, std::int64_t bytes) {
            EXPECT_EQ(call.plan.tile, used);
            return getrf(r, a, call, bytes);
          });
          const auto whole = [&](const auto& call, const std::vector<Matrix<double>>& x) {
            EXPECT_EQ(call.plan.tile, used);
            return call.plan.distributed_rhs ? side_by_side(x, nrhs) : x[0];
          };
          exactly(Getrs{}, used, [&](HostRanks& r, const auto& call, std::int64_t bytes) {
            EXPECT_LE(solve_error(a, whole(call, getrs(r, factor, b, call, bytes)), b), 30);
          });
          exactly(Gesv{}, tile, [&](HostRanks& r, const auto& call, std::int64_t bytes) {
            EXPECT_LE(solve_error(a, whole(call, gesv(r, a, b, call, bytes).x), b), 30);
          });
          exactly(Getri{}, used, [&](HostRanks& r, const auto& call, std::int64_t bytes) {
            EXPECT_EQ(call.plan.tile, used);
            getri(r, factor, call, bytes);
          });
        }
      }
    }
  }
}

TEST(LuPlan, WorkspaceIsBelowHalfTheShard) {
  for (const ScalarType type : {ScalarType::f32, ScalarType::f64, ScalarType::c64, ScalarType::c128}) {
    for (const std::int64_t n : {16384, 20000, 32768, 49152, 65535, 65536}) {
      for (const std::int64_t processes : {1, 4}) {
        if (type == ScalarType::f32 && n < 32768) continue;  // buffers of fixed size count for more in small shards
        const auto check = [&]<class R>(R) {
          auto q = request<R>(Platform::cuda, n, 1, 4);
          q.type = type;
          q.processes = processes;
          const auto plan = R::plan(q);
          // What the engine needs between processes comes on top.
          const std::int64_t between =
              engine_scratch_bytes(Platform::cuda, 0, processes) - engine_scratch_bytes(Platform::cuda, 0, 1);
          EXPECT_LE(2 * (plan.workspace_bytes - between), plan.shard_bytes)
              << R::name << ", n = " << n << ", type " << static_cast<int>(type) << ", " << processes << " processes";
        };
        check(Getrf{});
        check(Gesv{});
        check(Getri{});
      }
    }
  }
}

// Products decide the time of large matrices, and the chain of panels that of small ones.
TEST(LuPlan, PanelsOfLargeMatricesUpdateTogether) {
  for (const auto& [n, depth] :
       {std::pair<std::int64_t, std::int64_t>{8192, 512}, {16384, 512}, {32768, 1024}, {65536, 2048}}) {
    const auto q = request<Getrf>(Platform::cuda, n, 1, 4);
    const auto plan = Getrf::plan(q).plan;
    EXPECT_EQ(plan.tile, 512) << n;
    EXPECT_EQ(routines::lu_depth(q, plan), depth) << n;
    const auto system = request<Gesv>(Platform::cuda, n, 1, 4);
    EXPECT_EQ(routines::lu_depth(system, Gesv::plan(system).plan), depth) << n;
  }
}

// With parts in FP16, panels of that depth need more than half a shard.
TEST(LuPlan, FactorsOfLowerPrecisionMayUseAWholeShard) {
  auto q = request<Getrf>(Platform::cuda, 65536, 1, 4);
  q.type = ScalarType::f32;
  q.arithmetic = Arithmetic::fp16x2;
  const auto made = Getrf::plan(q);
  EXPECT_EQ(routines::lu_depth(q, made.plan), 2048);
  EXPECT_GT(made.workspace_bytes, q.shard_bytes() / 2);
  EXPECT_LE(made.workspace_bytes, q.shard_bytes());
}

// The chain of panels decides, unless the caller chooses the tile.
TEST(LuPlan, FactorsOfLowerPrecisionHaveNarrowerTiles) {
  for (const std::int64_t n : {32768, 65536}) {
    for (const Arithmetic arithmetic : {Arithmetic::tf32, Arithmetic::fp16x2}) {
      for (const auto& [asked, tile] : {std::pair<std::int64_t, std::int64_t>{0, 256}, {512, 512}}) {
        auto q = request<Getrf>(Platform::cuda, n, 1, 4, asked);
        q.type = ScalarType::f32;
        q.arithmetic = arithmetic;
        EXPECT_EQ(Getrf::plan(q).plan.tile, tile) << n;
      }
    }
  }
}

TEST(LuPlan, LargerProblemsTakeLonger) {
  for (const Platform platform : {Platform::cpu, Platform::cuda}) {
    for (const std::int64_t ranks : {1, 4}) {
      const auto check = [&]<class R>(R) {
        double last = 0;
        for (const std::int64_t n : {4096, 8192, 16384, 32768, 65536, 131072}) {
          const double seconds = R::plan(request<R>(platform, n, 1, ranks)).seconds;
          EXPECT_GT(seconds, last) << R::name << ", " << n;
          last = seconds;
        }
      };
      check(Gesv{});
      check(Getrf{});
      check(Getri{});
    }
  }
}

// cusolverDnDgetrf of CUDA 13.0 on one H100, whose products are slower than on the H200 of the model.
TEST(LuPlan, PredictsWhatOneGpuWasMeasuredToTake) {
  for (const auto& [n, seconds] : {std::pair<std::int64_t, double>{16384, 0.141}, {32768, 0.716}}) {
    EXPECT_NEAR(Getrf::plan(request<Getrf>(Platform::cuda, n, 1, 1)).seconds / seconds, 1, 0.25) << n;
  }
}

TEST(LuPlan, MoreHostsTakeLonger) {
  for (const std::int64_t n : {8192, 65536}) {
    double last = 0;
    for (const std::int64_t hosts : {1, 2, 4, 8}) {
      auto q = request<Getrf>(Platform::cuda, n, 1, 8);
      q.network.hosts = hosts;
      const double seconds = Getrf::plan(q).seconds;
      EXPECT_GT(seconds, last) << n << " on " << hosts << " hosts";
      last = seconds;
    }
  }
}

}  // namespace
}  // namespace jaxmg::testing
