#include "geqrf_checks.h"

#include "cuda_ranks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Peers, Geqrf, OnAllScalars<PeerRanks>);
// NCCL does not look at what it carries: one scalar type is enough.
using ThroughNccl = ::testing::Types<On<NcclRanks, double>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Nccl, Geqrf, ThroughNccl);

}  // namespace jaxmg::testing
