#include "equilibrate_checks.h"

#include "cuda_ranks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Peers, EquilibrateProperties, OnAllScalars<PeerRanks>);

}  // namespace jaxmg::testing
