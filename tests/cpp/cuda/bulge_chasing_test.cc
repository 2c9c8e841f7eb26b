#include "bulge_chasing_checks.h"
#include "cuda_ranks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Peers, BulgeChasing, OnAllScalars<PeerRanks>);
// NCCL transports bytes: one scalar type is enough.
using ThroughNccl = ::testing::Types<On<NcclRanks, double>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Nccl, BulgeChasing, ThroughNccl);

}  // namespace jaxmg::testing
