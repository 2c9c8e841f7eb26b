#include "cuda_ranks.h"
#include "potrs_checks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Peers, Potrs, OnAllScalars<PeerRanks>);
// NCCL transports bytes: one scalar type is enough.
using ThroughNccl = ::testing::Types<On<NcclRanks, std::complex<double>>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Nccl, Potrs, ThroughNccl);

}  // namespace jaxmg::testing
