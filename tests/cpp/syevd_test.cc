#include "ranks.h"
#include "syevd_checks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Host, SyevdTest, OnAllScalars<HostRanks>);

}  // namespace jaxmg::testing
