#include "planner/cost_model.h"

#include <concepts>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "gtest/gtest.h"
#include "routines/table.h"

namespace jaxmg::testing {
namespace {

using routines::Geqrf, routines::Gesv, routines::Gesvd, routines::Orgqr, routines::Polar, routines::Posv,
    routines::Potrf, routines::Potri, routines::Potrs, routines::Syevd;
constexpr auto f64 = ScalarType::f64;

// Estimated seconds of a call of R on GPUs with `count` right-hand sides or eigenvectors, if any.
template <class R>
double seconds_of(std::int64_t n, std::int64_t count, std::int64_t ranks, const Network& network = {},
                  ScalarType type = f64, Platform platform = Platform::cuda) {
  typename R::Problem q{};
  q.type = type;
  q.ranks = ranks;
  q.platform = platform;
  q.network = network;
  q.one_rank_up_to = 0;  // several ranks, as measured
  q.n = n;
  if constexpr (std::derived_from<typename R::Problem, RectangularProblem>) q.m = n;
  if constexpr (requires { q.nrhs; }) q.nrhs = count;
  if constexpr (requires { q.vectors; }) q.vectors = count;
  return R::plan(q).seconds;
}
template <class R>
double columns(std::int64_t n, std::int64_t count, std::int64_t ranks, const Network& network = {},
               ScalarType type = f64) {
  return seconds_of<R>(n, count, ranks, network, type);
}
template <class R>
double grid(std::int64_t n, std::int64_t count, std::int64_t ranks, const Network& network = {},
            Platform platform = Platform::cuda) {
  return seconds_of<Served<CusolverMp, R>>(n, count, ranks, network, f64, platform);
}

Network on_hosts(std::int64_t hosts) { return {hosts, 0, 0, 0}; }

// Medians of benchmarks/results. Cholesky and LU solves: of 2026-11-27, four H200 with NVLink and one H100; of more
// than 65536 columns and of other types, 2026-11-22; one GPU, 2026-11-24. All others 2026-11-27: Potrs on one, two and
// four H100, benchmarks/stages/sweeps.cc; eigenproblems, sums of stages on H100; QR factorisations, polar
// decompositions and singular values of matrices with a condition of 1e8, on one H100 and several H200.
TEST(CostModel, MatchesMeasuredTimesOfThisLibrary) {
  struct Measured {
    double (*model)(std::int64_t, std::int64_t, std::int64_t, const Network&, ScalarType);
    std::int64_t n, nrhs, ranks;
    double seconds;
    ScalarType type = f64;
  };
  const std::vector<Measured> all = {{columns<Posv>, 1024, 1, 4, 0.0017},
                                     {columns<Posv>, 4096, 1, 4, 0.0047},
                                     {columns<Posv>, 16384, 1, 4, 0.0219},
                                     {columns<Posv>, 32768, 1, 4, 0.0926},
                                     {columns<Posv>, 65536, 1, 4, 0.5322},
                                     {columns<Posv>, 131072, 1, 4, 3.5311},
                                     {columns<Posv>, 32768, 1, 4, 0.1065, ScalarType::f32},
                                     {columns<Posv>, 32768, 1, 4, 0.2649, ScalarType::c128},
                                     {columns<Posv>, 16384, 1, 1, 0.0388},
                                     {columns<Posv>, 32768, 1, 1, 0.2369},
                                     {columns<Potrs>, 32768, 1, 1, 0.0065},
                                     {columns<Potrs>, 32768, 1, 2, 0.0035},
                                     {columns<Potrs>, 65536, 1, 4, 0.0071},
                                     {columns<Potrs>, 65536, 1, 4, 0.0050, ScalarType::f32},
                                     {columns<Potrs>, 32768, 8, 2, 0.0070, ScalarType::f32},
                                     {columns<Potrs>, 32768, 16, 1, 0.0331},
                                     {columns<Potrs>, 32768, 2048, 1, 0.0958},
                                     {columns<Gesv>, 4096, 1, 1, 0.0154},
                                     {columns<Gesv>, 16384, 1, 1, 0.146},
                                     {columns<Gesv>, 32768, 1, 1, 0.739},
                                     {columns<Gesv>, 16384, 1, 4, 0.0793},
                                     {columns<Gesv>, 32768, 1, 4, 0.2512},
                                     {columns<Gesv>, 65536, 1, 4, 1.2364},
                                     {columns<Geqrf>, 8192, 1, 1, 0.0423},
                                     {columns<Geqrf>, 16384, 1, 1, 0.1726},
                                     {columns<Geqrf>, 16384, 1, 2, 0.129},
                                     {columns<Geqrf>, 32768, 1, 2, 0.639},
                                     {columns<Geqrf>, 16384, 1, 4, 0.1115},
                                     {columns<Geqrf>, 32768, 1, 4, 0.418},
                                     {columns<Polar>, 16384, 0, 4, 1.08},
                                     {columns<Gesvd>, 8192, 8192, 1, 0.775},
                                     {columns<Gesvd>, 8192, 8192, 4, 0.487},
                                     {columns<Gesvd>, 16384, 16384, 4, 1.60},
                                     {columns<Gesvd>, 16384, 0, 4, 1.39},
                                     {columns<Syevd>, 8192, 8192, 1, 0.1894},
                                     {columns<Syevd>, 16384, 16384, 1, 0.921},
                                     {columns<Syevd>, 8192, 8192, 4, 0.1329},
                                     {columns<Syevd>, 16384, 16384, 4, 0.4172},
                                     {columns<Syevd>, 32768, 32768, 4, 2.1416},
                                     {columns<Syevd>, 32768, 0, 4, 0.864}};
  for (const Measured& m : all) {
    EXPECT_NEAR(m.model(m.n, m.nrhs, m.ranks, {}, m.type) / m.seconds, 1, 0.2)
        << m.seconds << " s, n = " << m.n << ", nrhs " << m.nrhs;
  }
  // The inverse was measured together with the factor.
  for (const auto& [n, seconds] : {std::pair<std::int64_t, double>{16384, 0.1138}, {32768, 0.7533}}) {
    EXPECT_NEAR((columns<Potrf>(n, 1, 1) + columns<Potri>(n, 1, 1)) / seconds, 1, 0.2) << n;
  }
}

// On four H200: benchmarks/results, 2026-11-22.
TEST(CostModel, MatchesMeasuredTimesOfCusolverMg) {
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
TEST(CostModel, MatchesMeasuredTimesOfGrids) {
  for (const auto& [n, seconds] : {std::pair<std::int64_t, double>{16384, 0.031}, {32768, 0.124}, {65536, 0.674}}) {
    EXPECT_NEAR(grid<Potrf>(n, 1, 4) / seconds, 1, 0.2) << n;
  }
  for (const auto& [n, seconds] : {std::pair<std::int64_t, double>{8192, 0.91}, {16384, 2.39}}) {
    EXPECT_NEAR(grid<Syevd>(n, n, 4) / seconds, 1, 0.2) << n;
  }
}

TEST(CostModel, MoreHostsAndSlowerNetworksTakeLonger) {
  for (const auto& model : {columns<Posv>, columns<Potri>, columns<Syevd>}) {
    for (const std::int64_t n : {8192, 65536, 262144}) {
      const auto seconds = [&](const Network& network) { return model(n, 1, 64, network, f64); };
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

// If only bytes on the network count, four times the ranks halve the time on a grid, whose ranks receive N^2 / 2 (1 /
// rows + 1 / columns) elements. With columns, each rank receives the whole factor for any number of ranks.
TEST(CostModel, VolumesFallWithTheRootOfTheRanksOnlyOnAGrid) {
  const std::int64_t n = 262144;
  const auto slow = [](std::int64_t ranks) { return Network{ranks, 0, 1e6, 1e-9}; };
  EXPECT_NEAR(grid<Potrf>(n, 1, 64, slow(64)) / grid<Potrf>(n, 1, 256, slow(256)), 2, 0.2);
  EXPECT_GE(columns<Potrf>(n, 1, 256, slow(256)), columns<Potrf>(n, 1, 64, slow(64)));
  const double half = 8.0 * static_cast<double>(n) * static_cast<double>(n) / 2;
  EXPECT_GE(columns<Potrf>(n, 1, 64, slow(64)), half * 63 / 64 / 1e6);
}

// Hosts of eight GPUs: columns are faster on one host, a grid on many, with one crossover.
TEST(CostModel, AGridOvertakesOnceAsHostsBecomeMany) {
  const auto check = []<class R>(R) {
    for (const std::int64_t n : {16384, 65536, 262144}) {
      const std::int64_t nrhs = std::same_as<R, Syevd> ? n : 1;
      bool overtaken = false;
      for (std::int64_t hosts = 1; hosts <= 128; hosts *= 2) {
        const Network network = on_hosts(hosts);
        const bool faster = grid<R>(n, nrhs, 8 * hosts, network) < columns<R>(n, nrhs, 8 * hosts, network);
        if (hosts == 1) {
          EXPECT_FALSE(faster) << n;
        }
        EXPECT_TRUE(faster || !overtaken) << n << " on " << hosts << " hosts";
        overtaken = faster;
      }
      EXPECT_TRUE(overtaken) << n;
    }
  };
  check(Posv{});
  check(Syevd{});
}

// On CPUs, a kept factor makes no difference.
TEST(CostModel, CallsTakeLongerOnMoreDevicesAndWithAKeptFactor) {
  for (const Platform platform : {Platform::cuda, Platform::cpu}) {
    double last = 0;
    for (const std::int64_t ranks : {1, 2, 4, 8, 64}) {
      const CostModel cost(platform, f64, ranks, {});
      const double call = cost.call(false, false), kept = cost.call(true, false), sweeps = cost.call(true, true);
      if (ranks <= 8) {
        EXPECT_GT(call, last) << ranks;
      }
      EXPECT_EQ(kept > call, platform == Platform::cuda) << ranks;
      EXPECT_EQ(sweeps > kept, platform == Platform::cuda && ranks > 1) << ranks;
      EXPECT_LT(sweeps, 2e-3) << ranks;
      last = call;
    }
  }
}

TEST(CostModel, RejectsInvalidHostsOrdersAndPlatforms) {
  EXPECT_THROW(columns<Posv>(100, 1, 4, on_hosts(5)), Error);
  EXPECT_THROW(columns<Posv>(100, 1, 4, on_hosts(0)), Error);
  EXPECT_THROW(columns<Syevd>(100, 1, 4, on_hosts(5)), Error);
  EXPECT_THROW(grid<Posv>(0, 1, 4), Error);
  EXPECT_THROW(grid<Posv>(100, 1, 4, {}, Platform::cpu), Error);
}

}  // namespace
}  // namespace jaxmg::testing
