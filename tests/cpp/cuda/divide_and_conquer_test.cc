#include "cuda_ranks.h"
#include "divide_and_conquer_checks.h"

namespace jaxmg::testing {

using Peers = ::testing::Types<On<PeerRanks, float>, On<PeerRanks, double>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Peers, DivideAndConquerTest, Peers);
INSTANTIATE_TYPED_TEST_SUITE_P(Peers, Bisection, Peers);
// NCCL transports bytes: one scalar type is enough.
using ThroughNccl = ::testing::Types<On<NcclRanks, double>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Nccl, DivideAndConquerTest, ThroughNccl);
INSTANTIATE_TYPED_TEST_SUITE_P(Nccl, Bisection, ThroughNccl);

}  // namespace jaxmg::testing
