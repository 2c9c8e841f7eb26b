#include "cuda_ranks.h"
#include "potrf_checks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Peers, Potrf, OnAllScalars<PeerRanks>);
// NCCL transports bytes: one scalar type is enough.
using ThroughNccl = ::testing::Types<On<NcclRanks, double>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Nccl, Potrf, ThroughNccl);

}  // namespace jaxmg::testing
