#include "cuda_ranks.h"
#include "svd_checks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Peers, SvdTest, OnAllScalars<PeerRanks>);

}  // namespace jaxmg::testing
