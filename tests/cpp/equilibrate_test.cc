#include "equilibrate_checks.h"

#include "ranks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Host, EquilibrateProperties, OnAllScalars<HostRanks>);

}  // namespace jaxmg::testing
