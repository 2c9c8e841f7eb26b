#include "bulge_chasing_checks.h"

#include <complex>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "random_order_engine.h"
#include "ranks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Host, BulgeChasing, OnAllScalars<HostRanks>);

std::vector<std::pair<std::int64_t, std::int64_t>> shapes_of_bands() {
  std::vector<std::pair<std::int64_t, std::int64_t>> shapes;
  for (const std::int64_t b : {1, 2, 3, 4, 7}) {
    for (std::int64_t n = 1; n < 40; ++n) shapes.emplace_back(n, b);
  }
  return shapes;
}

// Blocks of reflectors fill the memory once, in wave order, and each reflector has its place in exactly one block.
TEST(Reflectors, PackedWithoutGaps) {
  for (const auto& [n, b] : shapes_of_bands()) {
    for (const std::int64_t sweeps : {b, Reflectors<double>::share(b, 3)}) {
      SCOPED_TRACE(::testing::Message() << "n = " << n << ", b = " << b << ", sweeps kept " << sweeps);
      Arena measure;
      Reflectors<double> q2(measure, n, b, sweeps);
      std::vector<double> memory(static_cast<std::size_t>(q2.blocks() * b * sweeps + 1));
      q2.data = memory.data();
      const DiamondGrid grid = q2.grid();
      std::int64_t blocks = 0;
      for (std::int64_t w = 0; b > 1 && w < grid.waves(); ++w) {
        const Wave wave = grid.wave(w);
        EXPECT_EQ(grid.before(w), blocks);
        for (std::int64_t i = 0; i < wave.count; ++i, ++blocks) {
          EXPECT_EQ(grid.wave_of(wave.g + i, wave.t + i), w);
          EXPECT_EQ(q2.block(wave.g + i, wave.t + i).data, q2.data + blocks * b * sweeps);
        }
      }
      EXPECT_EQ(q2.blocks(), blocks);
      for (std::int64_t s = 0; b > 1 && s < n - 2; ++s) {
        ASSERT_LT(s / b, grid.groups());
        for (std::int64_t t = 0; s + 1 + t * b < n; ++t) EXPECT_LT(t, grid.steps(s / b));
      }
    }
  }
}

// Each sweep of a group is kept by exactly one rank.
TEST(Reflectors, SharesPartitionTheSweeps) {
  for (const std::int64_t b : {1, 2, 3, 8, 32}) {
    for (const int ranks : {1, 2, 3, 4, 8, 40}) {
      double any = 0;
      Reflectors<double> q2;
      q2.data = &any;
      q2.b = b;
      q2.sweeps = Reflectors<double>::share(b, ranks);
      for (std::int64_t k = 0; k < b; ++k) {
        int keepers = 0;
        for (int r = 0; r < ranks; ++r) keepers += q2.kept_by(r).keeps(k) ? 1 : 0;
        EXPECT_EQ(keepers, q2.whole() ? ranks : 1) << "sweep " << k << " of " << b << " on " << ranks << " ranks";
      }
    }
  }
}

// Waves hold each diamond once. Two diamonds that share rows are in different waves: the diamond whose reflectors come
// later in Q2 is in the earlier wave.
TEST(Reflectors, WavesRespectTheOrderOfReflectors) {
  for (const auto& [n, width] : shapes_of_bands()) {
    SCOPED_TRACE(::testing::Message() << "n = " << n << ", width = " << width);
    const DiamondGrid grid{n, width};
    std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> wave_of;
    for (std::int64_t w = 0; w < grid.waves(); ++w) {
      const Wave wave = grid.wave(w);
      ASSERT_GE(wave.count, 1);
      for (std::int64_t i = 0; i < wave.count; ++i) {
        ASSERT_TRUE(wave_of.emplace(std::pair(wave.g + i, wave.t + i), w).second);
      }
    }
    std::int64_t all = 0;
    for (std::int64_t g = 0; g < grid.groups(); ++g) all += grid.steps(g);
    EXPECT_EQ(static_cast<std::int64_t>(wave_of.size()), all);
    for (const auto& [one, one_wave] : wave_of) {
      ASSERT_LT(one.first, grid.groups());
      ASSERT_LT(one.second, grid.steps(one.first));
      ASSERT_LT(grid.row(one.first, one.second), n);
      for (const auto& [other, other_wave] : wave_of) {
        const std::int64_t apart = one.first + one.second - other.first - other.second;
        if (one == other || std::abs(apart) >= 2) continue;
        // Of reflectors (s, t) and (s', t'), s < s', the first comes first in Q2, unless they share no row.
        const bool before = one.first < other.first || (one.first == other.first && one.second > other.second);
        EXPECT_EQ(one_wave > other_wave, before)
            << one.first << ' ' << one.second << ' ' << other.first << ' ' << other.second;
      }
    }
  }
}

// The parts of merged diamonds are all diamonds, each exactly once.
TEST(Reflectors, PartsOfMergedDiamondsAreAllDiamonds) {
  for (const auto& [n, b] : shapes_of_bands()) {
    const DiamondGrid small{n, b};
    for (const int levels : {0, 1, 2}) {
      SCOPED_TRACE(::testing::Message() << "n = " << n << ", b = " << b << ", merged " << levels << " times");
      const DiamondGrid grid{n, b << levels};
      std::map<std::pair<std::int64_t, std::int64_t>, int> parts;
      for (std::int64_t g = 0; g < grid.groups(); ++g) {
        for (std::int64_t t = 0; t < grid.steps(g); ++t) {
          for (std::int64_t i = 0; i < 1 << (2 * levels); ++i) {
            const DiamondPart part(i, levels);
            ++parts[{(g << levels) + part.g, (t << levels) + part.t}];
          }
        }
      }
      for (std::int64_t g = 0; g < small.groups(); ++g) {
        for (std::int64_t t = 0; t < small.steps(g); ++t) EXPECT_EQ((parts[{g, t}]), 1);
      }
    }
  }
}

BandShape in_place(BandShape shape) {
  shape.in_place = true;
  return shape;
}

// Lanes are ordered: in any order of execution, shared reflectors arrive before they are used.
template <class T>
void expect_way_back_in_any_order() {
  for (const int ranks : {2, 3, 4}) {
    for (std::uint64_t seed = 0; seed < 2; ++seed) {
      for (BandShape shape : {BandShape{23, 3, ranks, 2}, BandShape{18, 2, ranks, 0, 1, 1}, BandShape{5, 2, ranks},
                              BandShape{26, 4, ranks, 5, 0, 2}, in_place({23, 3, ranks}), in_place({26, 4, ranks})}) {
        shape.shared = true;
        SCOPED_TRACE(::testing::Message() << shape << ", seed " << seed);
        const auto a = banded(random_hermitian<T>(shape.n, 1), shape.b);
        HostRanks host(ranks);
        RandomOrderRanks chance(ranks, seed);
        const auto expected = tridiagonalize(host, a, shape);
        Tridiagonalization<T> found;
        ASSERT_NO_THROW(found = tridiagonalize(chance, a, shape));
        EXPECT_EQ(found, expected);
      }
    }
  }
}

TEST(BulgeChasingSchedule, Real) { expect_way_back_in_any_order<double>(); }
TEST(BulgeChasingSchedule, Complex) { expect_way_back_in_any_order<std::complex<float>>(); }

}  // namespace jaxmg::testing
