#include "factor_status_checks.h"

#include "cuda_ranks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Peers, FactorStatus, OnAllScalars<PeerRanks>);

}  // namespace jaxmg::testing
