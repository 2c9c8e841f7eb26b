#include "potrs_checks.h"

#include <complex>

#include "ranks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Host, Potrs, OnAllScalars<HostRanks>);

namespace {

template <class T>
void solve_near_the_ends_of_the_range() {
  for (const Shape& shape : some_shapes<HostRanks>()) {
    SCOPED_TRACE(shape);
    HostRanks ranks(shape.ranks);
    const auto a = positive_definite<T>(shape.n, 1);
    auto l = a;
    ASSERT_EQ(lapack_potrf(l), 0);
    const auto b = random_matrix<T>(shape.n, 9, 2);
    expect_solutions_near_the_ends_of_the_range(
        a, b, [&](const Matrix<T>& rhs) { return solve_few(ranks, l, rhs, shape)[0]; });
    expect_solutions_near_the_ends_of_the_range(a, b,
                                                [&](const Matrix<T>& rhs) { return solve_many(ranks, l, rhs, shape); });
  }
}

TEST(PotrsOnHost, SolvesNearTheEndsOfTheRange) {
  solve_near_the_ends_of_the_range<double>();
  solve_near_the_ends_of_the_range<std::complex<float>>();
}

}  // namespace

}  // namespace jaxmg::testing
