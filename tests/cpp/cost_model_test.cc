#include "backends/cost_model.h"

#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

#include "backends/eigen_plan.h"
#include "backends/plan.h"
#include "core/error.h"
#include "gtest/gtest.h"

namespace jaxmg::testing {
namespace {

constexpr auto f64 = ScalarType::f64;

// What a call takes on GPUs: `nrhs` right-hand sides, or eigenvectors.
double columns(Routine routine, std::int64_t n, std::int64_t nrhs, std::int64_t ranks, const Network& network = {},
               ScalarType type = f64) {
  if (routine == Routine::syevd)
    return make_eigen_plan({n, type, ranks, 0, Platform::cuda, 1, 0, nrhs, network}).seconds;
  return make_plan({routine, n, nrhs, type, ranks, 0, Platform::cuda, 1, 0, network}).seconds;
}
double grid(Routine routine, std::int64_t n, std::int64_t nrhs, std::int64_t ranks, const Network& network = {}) {
  return grid_seconds({routine, n, nrhs, f64, ranks, 0, Platform::cuda, 1, 0, network});
}

Network on_hosts(std::int64_t hosts) { return {hosts, 0, 0, 0}; }

// Medians of benchmarks/results, 2026-11-22 (four H200, NVLink) and 2026-11-24 (one).
TEST(CostModel, PredictsWhatThisLibraryWasMeasuredToTake) {
  struct Measured {
    Routine routine;
    std::int64_t n, nrhs, ranks;
    double seconds;
    ScalarType type = f64;
  };
  const std::vector<Measured> all = {{Routine::posv, 1024, 1, 4, 0.0020},
                                     {Routine::posv, 4096, 1, 4, 0.0068},
                                     {Routine::posv, 16384, 1, 4, 0.0294},
                                     {Routine::posv, 32768, 1, 4, 0.1020},
                                     {Routine::posv, 65536, 1, 4, 0.5382},
                                     {Routine::posv, 131072, 1, 4, 3.5311},
                                     {Routine::posv, 32768, 1, 4, 0.1065, ScalarType::f32},
                                     {Routine::posv, 32768, 1, 4, 0.2649, ScalarType::c128},
                                     {Routine::posv, 16384, 1, 1, 0.0388},
                                     {Routine::posv, 32768, 1, 1, 0.2369},
                                     {Routine::potrs, 32768, 1, 1, 0.0065},
                                     {Routine::potrs, 32768, 16, 1, 0.0331},
                                     {Routine::potrs, 32768, 2048, 1, 0.0958},
                                     {Routine::syevd, 8192, 8192, 1, 0.2364},
                                     {Routine::syevd, 16384, 16384, 1, 1.1951},
                                     {Routine::syevd, 8192, 0, 1, 0.1544},
                                     {Routine::syevd, 16384, 0, 1, 0.4864}};
  for (const Measured& m : all) {
    EXPECT_NEAR(columns(m.routine, m.n, m.nrhs, m.ranks, {}, m.type) / m.seconds, 1, 0.2)
        << "routine " << static_cast<int>(m.routine) << ", n = " << m.n << ", nrhs " << m.nrhs;
  }
  // The inverse was measured together with the factor.
  for (const auto& [n, seconds] : {std::pair<std::int64_t, double>{16384, 0.1138}, {32768, 0.7533}}) {
    EXPECT_NEAR((columns(Routine::potrf, n, 1, 1) + columns(Routine::potri, n, 1, 1)) / seconds, 1, 0.2) << n;
  }
}

// On four H200: benchmarks/results, 2026-11-22.
TEST(CostModel, PredictsWhatCusolverMgWasMeasuredToTake) {
  const CusolverMgCost cost(Platform::cuda, f64, 4, {});
  for (const auto& [n, potrf, potrs] : {std::tuple<std::int64_t, double, double>{16384, 0.0476, 0.0228},
                                        {32768, 0.1717, 0.0586},
                                        {65536, 0.8344, 0.2094},
                                        {131072, 4.8461, 0.8107}}) {
    EXPECT_NEAR(cost.potrf(n) / potrf, 1, 0.25) << n;
    EXPECT_NEAR(cost.potrs(n, 1) / potrs, 1, 0.25) << n;
  }
  for (const auto& [n, seconds] : {std::pair<std::int64_t, double>{16384, 0.58}, {32768, 3.21}}) {
    EXPECT_NEAR(cost.potri(n) / seconds, 1, 0.25) << n;
  }
  for (const auto& [n, seconds] : {std::pair<std::int64_t, double>{8192, 1.88}, {16384, 5.58}}) {
    EXPECT_NEAR(cost.syevd(n) / seconds, 1, 0.25) << n;
  }
}

// cuSOLVERMp 0.9.1 on four H200 as a grid of 2 x 2 with blocks of 1024, 2026-11-22: the factorisation, and
// eigenvectors.
TEST(CostModel, PredictsWhatAGridWasMeasuredToTake) {
  for (const auto& [n, seconds] : {std::pair<std::int64_t, double>{16384, 0.031}, {32768, 0.124}, {65536, 0.674}}) {
    EXPECT_NEAR(grid(Routine::potrf, n, 1, 4) / seconds, 1, 0.2) << n;
  }
  for (const auto& [n, seconds] : {std::pair<std::int64_t, double>{8192, 0.91}, {16384, 2.39}}) {
    EXPECT_NEAR(grid(Routine::syevd, n, n, 4) / seconds, 1, 0.2) << n;
  }
}

TEST(CostModel, MoreHostsAndSlowerNetworksTakeLonger) {
  for (const Routine routine : {Routine::posv, Routine::potri, Routine::syevd}) {
    for (const std::int64_t n : {8192, 65536, 262144}) {
      const auto seconds = [&](const Network& network) { return columns(routine, n, 1, 64, network); };
      const double one = seconds({});
      EXPECT_EQ(seconds({1, 0, 1e9, 1e-3}), one) << "there is no network within a host";
      double last = one;
      for (const std::int64_t hosts : {2, 4, 8, 64}) {
        EXPECT_GT(seconds(on_hosts(hosts)), last) << hosts;
        last = seconds(on_hosts(hosts));
      }
      EXPECT_GT(seconds({8, 0, 10e9, 0}), seconds(on_hosts(8)));
      EXPECT_GT(seconds({8, 0, 0, 1e-3}), seconds(on_hosts(8)));
      EXPECT_LE(seconds({1, 900e9, 0, 0}), one);
    }
  }
}

// Where bytes on the network are all that counts, four times the ranks halve the time on a grid, whose ranks receive
// N^2 / 2 (1 / rows + 1 / columns) elements. Columns send to each rank the whole factor, however many there are.
TEST(CostModel, VolumesFallWithTheRootOfTheRanksOnAGridAlone) {
  const std::int64_t n = 262144;
  const auto slow = [](std::int64_t ranks) { return Network{ranks, 0, 1e6, 1e-9}; };
  EXPECT_NEAR(grid(Routine::potrf, n, 1, 64, slow(64)) / grid(Routine::potrf, n, 1, 256, slow(256)), 2, 0.2);
  EXPECT_GE(columns(Routine::potrf, n, 1, 256, slow(256)), columns(Routine::potrf, n, 1, 64, slow(64)));
  const double half = 8.0 * static_cast<double>(n) * static_cast<double>(n) / 2;
  EXPECT_GE(columns(Routine::potrf, n, 1, 64, slow(64)), half * 63 / 64 / 1e6);
}

// Hosts of eight GPUs: columns are faster on one of them, a grid on many, and it overtakes once.
TEST(CostModel, AGridOvertakesOnceAsHostsBecomeMany) {
  for (const Routine routine : {Routine::posv, Routine::syevd}) {
    for (const std::int64_t n : {16384, 65536, 262144}) {
      const std::int64_t nrhs = routine == Routine::syevd ? n : 1;
      bool overtaken = false;
      for (std::int64_t hosts = 1; hosts <= 128; hosts *= 2) {
        const Network network = on_hosts(hosts);
        const bool faster = grid(routine, n, nrhs, 8 * hosts, network) < columns(routine, n, nrhs, 8 * hosts, network);
        if (hosts == 1) {
          EXPECT_FALSE(faster) << n;
        }
        EXPECT_TRUE(faster || !overtaken) << n << " on " << hosts << " hosts";
        overtaken = faster;
      }
      EXPECT_TRUE(overtaken) << n;
    }
  }
}

TEST(CostModel, RefusesWhatItDoesNotKnow) {
  EXPECT_THROW(columns(Routine::posv, 100, 1, 4, on_hosts(5)), Error);
  EXPECT_THROW(columns(Routine::posv, 100, 1, 4, on_hosts(0)), Error);
  EXPECT_THROW(columns(Routine::syevd, 100, 1, 4, on_hosts(5)), Error);
  EXPECT_THROW(grid(Routine::potri, 100, 1, 4), Error);
  EXPECT_THROW(grid(Routine::posv, 0, 1, 4), Error);
  EXPECT_THROW(grid_seconds({Routine::posv, 100, 1, f64, 4, 0, Platform::cpu, 1, 0}), Error);
}

}  // namespace
}  // namespace jaxmg::testing
