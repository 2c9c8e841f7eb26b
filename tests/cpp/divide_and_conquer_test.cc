#include "divide_and_conquer_checks.h"
#include "ranks.h"

namespace jaxmg::testing {

using OnHost = ::testing::Types<On<HostRanks, float>, On<HostRanks, double>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Host, DivideAndConquerTest, OnHost);
INSTANTIATE_TYPED_TEST_SUITE_P(Host, Bisection, OnHost);

}  // namespace jaxmg::testing
