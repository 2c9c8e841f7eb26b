// The backends over cuSOLVERMp, on every number of GPUs; skipped where the library, or an NCCL that it takes, is
// missing.
#include "backends/cuda_cusolvermp.h"

#include <iostream>

#include "block_cyclic_backends_checks.h"
#include "block_cyclic_checks.h"
#include "core/error.h"
#include "cuda_ranks.h"
#include "engine/cuda/cusolvermp_library.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Peers, BlockCyclicMoves, OnAllScalars<PeerRanks>);

namespace {

// NCCL gives each rank of a communicator a GPU of its own.
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

template <class S>
struct Distributed : On<CusolverMpRanks, S> {
  using Solver = CusolverMpSolver;
};
using AllScalars = ::testing::Types<Distributed<float>, Distributed<double>, Distributed<std::complex<float>>,
                                    Distributed<std::complex<double>>>;
INSTANTIATE_TYPED_TEST_SUITE_P(CusolverMp, SolverBackends, AllScalars);

}  // namespace
}  // namespace jaxmg::testing
