#include "bulge_chasing_checks.h"

#include <map>
#include <utility>

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

// Blocks of reflectors fill the memory once, each reflector has its place in one of them.
TEST(Reflectors, PackedWithoutGaps) {
  for (const auto& [n, b] : shapes_of_bands()) {
    SCOPED_TRACE(::testing::Message() << "n = " << n << ", b = " << b);
    Arena measure;
    Reflectors<double> q2(measure, n, b);
    std::vector<double> memory(static_cast<std::size_t>(q2.blocks() * b * b + 1));
    q2.data = memory.data();
    double* next = q2.data;
    for (std::int64_t g = 0; g < q2.groups(); ++g) {
      for (std::int64_t t = 0; t < q2.steps(g); ++t, next += b * b) EXPECT_EQ(q2.block(g, t).data, next);
    }
    EXPECT_EQ(next, q2.data + q2.blocks() * b * b);
    for (std::int64_t s = 0; b > 1 && s < n - 2; ++s) {
      ASSERT_LT(s / b, q2.groups());
      for (std::int64_t t = 0; s + 1 + t * b < n; ++t) EXPECT_LT(t, q2.steps(s / b));
    }
  }
}

// Waves hold each diamond once; two diamonds that share rows are in different waves, the one whose reflectors come
// later in Q2 in the earlier wave.
TEST(Reflectors, WavesKeepTheOrder) {
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

// The parts of merged diamonds are all diamonds, each of them once.
TEST(Reflectors, PartsAreAllThereAre) {
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

}  // namespace jaxmg::testing
