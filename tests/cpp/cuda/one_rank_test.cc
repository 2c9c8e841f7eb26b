#include "one_rank_checks.h"

#include <cstdint>

#include "cuda_ranks.h"
#include "gtest/gtest.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Cuda, OneRank, OnAllScalars<PeerRanks>);

namespace {

// The planned workspace of cuSOLVER's eigensolver is an assumption; where the installed library needs more, our own
// algorithm runs.
TEST(XsyevdWorkspace, IsWithinThePlan) {
  JAXMG_NEEDS_RANKS(PeerRanks, 1);
  PeerRanks ranks(1);
  ranks.run([](auto& engine) {
    for (const std::int64_t n : {1, 32, 100, 512, 1000, 2048, 2880}) {
      for (const bool vectors : {true, false}) {
        EXPECT_TRUE(engine.template heevd_fits<float>(n, vectors)) << n << ", vectors " << vectors;
        EXPECT_TRUE(engine.template heevd_fits<double>(n, vectors)) << n << ", vectors " << vectors;
        EXPECT_TRUE(engine.template heevd_fits<std::complex<float>>(n, vectors)) << n << ", vectors " << vectors;
        EXPECT_TRUE(engine.template heevd_fits<std::complex<double>>(n, vectors)) << n << ", vectors " << vectors;
      }
    }
  });
}

}  // namespace
}  // namespace jaxmg::testing
