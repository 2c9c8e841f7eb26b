#include "cuda_ranks.h"
#include "syevd_checks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Peers, SyevdTest, OnAllScalars<PeerRanks>);

}  // namespace jaxmg::testing
