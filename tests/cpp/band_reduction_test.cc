#include "band_reduction_checks.h"
#include "random_order_engine.h"
#include "ranks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Host, BandReductionTest, OnAllScalars<HostRanks>);

// Lanes are ordered: in any order of execution, the result equals the host engine's.
template <class T>
void expect_band_in_any_order() {
  for (const int ranks : {2, 3, 4}) {
    for (std::int64_t delay = 1; delay <= 3; ++delay) {
      for (std::uint64_t seed = 0; seed < 2; ++seed) {
        for (const BandShape& shape : {BandShape{41, ranks, 5, 3, delay, 6}, BandShape{36, ranks, 4, 4, delay, 8},
                                       BandShape{25, ranks, 64, 4, delay, 4}}) {
          SCOPED_TRACE(::testing::Message() << shape << ", seed " << seed);
          const auto a = random_hermitian<T>(shape.n, 1);
          HostRanks host(ranks);
          RandomOrderRanks chance(ranks, seed);
          const auto expected = band_of(host, a, shape);
          BandOf<T> found;
          ASSERT_NO_THROW(found = band_of(chance, a, shape));
          EXPECT_EQ(found.bands, expected.bands);
          EXPECT_EQ(found.q, expected.q);
        }
      }
    }
  }
}

TEST(BandReductionSchedule, Real) { expect_band_in_any_order<double>(); }
TEST(BandReductionSchedule, Complex) { expect_band_in_any_order<std::complex<float>>(); }

}  // namespace jaxmg::testing
