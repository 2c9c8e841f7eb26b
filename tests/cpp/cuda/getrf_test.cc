#include "getrf_checks.h"

#include "cuda_ranks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Peers, Getrf, OnAllScalars<PeerRanks>);
// NCCL does not look at what it carries: one scalar type is enough.
using ThroughNccl = ::testing::Types<On<NcclRanks, double>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Nccl, Getrf, ThroughNccl);

namespace {

// Panels of so many rows that the kernel takes blocks of each size, and several warps to read what blocks publish.
template <class T>
void tall_panels_are_lapacks() {
  for (const int m : {40, 1000, 8449, 20000, 67000}) {
    for (const int n : {1, 7, 16, 32}) {
      SCOPED_TRACE(::testing::Message() << m << " x " << n);
      const auto panel = random_matrix<T>(m, n, 7);
      PeerRanks ranks(1);
      auto a = ranks.matrix<T>(m, n);
      auto pivots = ranks.matrix<std::int32_t>(n, 1);
      auto scratch = ranks.matrix<std::byte>(getrf_scratch_bytes(m, n), 1);
      upload(a, std::vector<Matrix<T>>{panel});
      ranks.run([&](auto& engine) {
        engine.getrf(Lane::diagonal, a.view(0), 5, pivots.view(0).data, scratch.view(0).data);
        engine.join();
      });
      const Matrix<T> found = download(a, 1)[0];
      const Matrix<std::int32_t> chosen = download(pivots, 1)[0];

      Matrix<T> known = panel;
      std::vector<int> known_pivots(static_cast<std::size_t>(n));
      int info = 0;
      Blas<T>::instance().getrf(&m, &n, known.data(), &m, known_pivots.data(), &info);
      ASSERT_EQ(info, 0);
      for (int i = 0; i < n; ++i) EXPECT_EQ(chosen(i, 0), 5 + known_pivots[static_cast<std::size_t>(i)] - 1) << i;
      EXPECT_LE(difference(found, known), 1e4);  // as in PivotsAndFactorAreLapacks
    }
  }
}

TEST(TallPanels, F32) { tall_panels_are_lapacks<float>(); }
TEST(TallPanels, F64) { tall_panels_are_lapacks<double>(); }
TEST(TallPanels, C64) { tall_panels_are_lapacks<std::complex<float>>(); }
TEST(TallPanels, C128) { tall_panels_are_lapacks<std::complex<double>>(); }

}  // namespace
}  // namespace jaxmg::testing
