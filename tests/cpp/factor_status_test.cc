#include "factor_status_checks.h"

#include "ranks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Host, FactorStatus, OnAllScalars<HostRanks>);

}  // namespace jaxmg::testing
