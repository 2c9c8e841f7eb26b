#include "ranks.h"
#include "svd_checks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Host, SvdTest, OnAllScalars<HostRanks>);

}  // namespace jaxmg::testing
