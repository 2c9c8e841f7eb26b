#include "hemm_checks.h"

#include "ranks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Host, HemmProperties, OnAllScalars<HostRanks>);

}  // namespace jaxmg::testing
