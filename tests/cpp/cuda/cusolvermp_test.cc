// Routines served by cuSOLVERMp, on every number of GPUs; skipped if the library or a compatible NCCL is missing.
#include <iostream>

#include "block_cyclic_checks.h"
#include "core/error.h"
#include "cuda_ranks.h"
#include "cusolvermp_checks.h"
#include "routines/cuda/vendors.h"
#include "vendor/cusolvermp/cuda/library.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Peers, BlockCyclicMoves, OnAllScalars<PeerRanks>);

namespace {

// NCCL requires a separate GPU for each rank of a communicator.
class CusolverMpRanks : public PeerRanks {
 public:
  using PeerRanks::PeerRanks;
  static bool available(int ranks) {
    static const bool found = [] {
      try {
        if (device_count() > 0) std::cout << "cuSOLVERMp " << cuda::CusolverMpLibrary::instance().version() << '\n';
        return device_count() > 0;
      } catch (const Error& error) {
        std::cout << error.what() << '\n';
        return false;
      }
    }();
    return found && ranks <= device_count() && PeerRanks::available(ranks);
  }
};

INSTANTIATE_TYPED_TEST_SUITE_P(CusolverMp, SolverBackends, OnAllScalars<CusolverMpRanks>);

}  // namespace
}  // namespace jaxmg::testing
