#include "getrf_checks.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <random>
#include <utility>

#include "cuda_ranks.h"
#include "ranks.h"

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

// With plans of one and of several chunks, and beside a leaf.
TEST(RowInterchanges, AgreeWithTheHostEngine) {
  using T = float;
  constexpr std::int64_t rows = 1400, columns = 45, row = 7;
  std::mt19937 random(8);
  for (const std::int64_t count : {1, 5, 32, 512, 700}) {
    for (const std::int64_t farthest : {std::int64_t{2}, count, rows}) {  // many pivots name the same rows
      SCOPED_TRACE(::testing::Message() << count << " interchanges with rows up to " << farthest << " below");
      Matrix<std::int32_t> pivots(rows, 1);
      for (std::int64_t i = 0; i < rows; ++i) {
        pivots(i, 0) =
            static_cast<std::int32_t>(row + i + static_cast<std::int64_t>(random()) % std::min(farthest, rows - i));
      }
      const auto a = random_matrix<T>(rows, columns, 9);
      // A after interchanges in all of its columns, and after interchanges in the columns beside some of them.
      const auto interchanged = [&](auto&& ranks) {
        auto all = ranks.template matrix<T>(rows, columns), beside = ranks.template matrix<T>(rows, columns);
        auto on_rank = ranks.template matrix<std::int32_t>(rows, 1);
        auto moves = ranks.template matrix<std::byte>(count * static_cast<std::int64_t>(sizeof(RowMoves)), 1);
        all.upload(0, a);
        beside.upload(0, a);
        on_rank.upload(0, pivots);
        ranks.run([&](auto& engine) {
          auto* const planned = reinterpret_cast<RowMoves*>(moves.view(0).data);
          engine.plan_interchanges(Lane::panel, on_rank.view(0).data, row, count, row + rows, planned);
          engine.interchange(Lane::panel, Interchanges::made, planned, count, row, all.view(0));
          engine.interchange_beside(Lane::panel, on_rank.view(0).data, row, 6, std::min<std::int64_t>(count, 33),
                                    beside.view(0));
          engine.join();
        });
        return std::pair{all.download(0), beside.download(0)};
      };
      EXPECT_EQ(interchanged(PeerRanks(1)), interchanged(HostRanks(1)));
    }
  }
}

// ||P M - L U|| / ||M|| of factors whose products use an arithmetic, for block columns of one or several tiles.
template <class T>
double error_with(Arithmetic arithmetic, const Shape& shape) {
  const auto m = random_matrix<T>(shape.n, shape.n, 1);
  PeerRanks ranks(shape.ranks);
  const auto found = factor_lu(ranks, m, shape, 32, arithmetic);
  EXPECT_EQ(found.info, 0);
  return lu_error(m, found) * n_eps<T>(shape.n);
}

// Rounding the operands of the products causes errors of at most 2 u |L| |U|, with u of their parts. Here |L| <= 1 and
// |U| <= growth max |M|; both have random signs, and the norm of n products is about sqrt(n) times that of one. The
// errors of TF32 are clearly larger than those of float32: tensor cores have been used. (Block columns are narrow, as
// all but the next tile column is updated by parts.)
TEST(TensorCores, ErrorsAreThoseOfTheArithmetic) {
  using Complex = std::complex<float>;
  for (const int count : {1, 2, 3, 4}) {
    if (!PeerRanks::available(count)) continue;
    for (const Shape& shape :
         {Shape{700, count, 32, 96, 2}, Shape{512, count, 64, 64, 1}, Shape{333, count, 40, 80, 3}}) {
      SCOPED_TRACE(shape);
      const double growth = 2 * std::sqrt(static_cast<double>(shape.n));
      const double full = error_with<float>(Arithmetic::full, shape);
      const double tf32 = error_with<float>(Arithmetic::tf32, shape);
      EXPECT_LE(tf32, 0x1p-11 * growth);
      EXPECT_GE(tf32, 20 * full);
      EXPECT_LE(error_with<Complex>(Arithmetic::tf32, shape), 2 * 0x1p-11 * growth);
      EXPECT_LE(error_with<float>(Arithmetic::fp16x2, shape), 0x1p-22 * growth);
      EXPECT_LE(error_with<Complex>(Arithmetic::fp16x2, shape), 2 * 0x1p-22 * growth);
    }
  }
}

}  // namespace
}  // namespace jaxmg::testing
