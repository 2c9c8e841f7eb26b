#include "bulge_chasing_checks.h"
#include "cuda_ranks.h"

namespace jaxmg::testing {

// No blocks travel between ranks, so how they would makes no difference.
INSTANTIATE_TYPED_TEST_SUITE_P(Cuda, BulgeChasing, OnAllScalars<PeerRanks>);

}  // namespace jaxmg::testing
