#include "cusolvermg_checks.h"

#include <algorithm>
#include <complex>
#include <cstdint>
#include <numeric>
#include <vector>

#include "cuda_ranks.h"
#include "routines/cuda/vendors.h"
#include "vendor/cusolvermg/cuda/session.h"

namespace jaxmg::testing {
namespace {

// Every rank has a GPU of its own.
class OneGpuEach : public PeerRanks {
 public:
  using PeerRanks::PeerRanks;
  static bool available(int ranks) { return ranks <= device_count() && PeerRanks::available(ranks); }
};

// The library itself.
struct Library {
  template <class R, class T>
  static std::int64_t bytes(const CallOf<R, T>& call) {
    const int size = static_cast<int>(call.problem.ranks);
    std::vector<int> devices(static_cast<std::size_t>(size));
    std::iota(devices.begin(), devices.end(), 0);
    cuda::CusolverMgSession session;
    session.open(devices);
    PeerRanks ranks(size);
    auto some = ranks.matrix<T>(1, 1);
    std::vector<void*> parts;
    for (int r = 0; r < size; ++r) parts.push_back(some.view(r).data);
    return std::max<std::int64_t>(256, R::library_bytes(session, call.problem, call.plan, parts));
  }
};

using OnGpus = ::testing::Types<Driven<OneGpuEach, float, Library>, Driven<OneGpuEach, double, Library>,
                                Driven<OneGpuEach, std::complex<float>, Library>,
                                Driven<OneGpuEach, std::complex<double>, Library>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Gpus, CusolverMgTest, OnGpus);

}  // namespace
}  // namespace jaxmg::testing
