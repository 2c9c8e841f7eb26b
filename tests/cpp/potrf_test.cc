#include "potrf_checks.h"
#include "ranks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Host, Potrf, OnAllScalars<HostRanks>);

}  // namespace jaxmg::testing
