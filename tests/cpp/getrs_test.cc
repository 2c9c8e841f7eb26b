#include "getrs_checks.h"

#include <complex>
#include <cstdint>

#include "ranks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Host, Getrs, OnAllScalars<HostRanks>);

namespace {

template <class T>
void solve_near_the_ends_of_the_range() {
  for (const Shape& shape : some_shapes<HostRanks>()) {
    HostRanks ranks(shape.ranks);
    auto a = random_matrix<T>(shape.n, shape.n, 1);
    for (std::int64_t i = 0; i < shape.n; ++i) a(i, i) += T(static_cast<Real<T>>(2 * shape.n));
    const auto factor = lapack_lu(turned(a, Trans::transpose));
    const auto b = random_matrix<T>(shape.n, 9, 2);
    for (const Trans trans : every_trans) {
      for (const bool distributed : {false, true}) {
        SCOPED_TRACE(::testing::Message()
                     << shape << ", trans " << static_cast<int>(trans) << (distributed ? ", distributed B" : ""));
        expect_solutions_near_the_ends_of_the_range(turned(a, trans), b, [&](const Matrix<T>& rhs) {
          const auto x = solve_lu(ranks, factor, rhs, shape, trans, distributed);
          return distributed ? side_by_side(x, rhs.columns()) : x[0];
        });
      }
    }
  }
}

TEST(GetrsOnHost, SolvesNearTheEndsOfTheRange) {
  solve_near_the_ends_of_the_range<double>();
  solve_near_the_ends_of_the_range<std::complex<float>>();
}

}  // namespace

}  // namespace jaxmg::testing
