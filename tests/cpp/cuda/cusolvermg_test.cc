#include "cusolvermg_checks.h"

#include <algorithm>
#include <complex>
#include <cstdint>
#include <numeric>
#include <vector>

#include "cuda_ranks.h"
#include "engine/cuda/cusolvermg.h"

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
  using Session = cuda::CusolverMgSession;

  template <class T>
  static std::int64_t cholesky_bytes(const Shape& s, std::int64_t nrhs) {
    return ask<T>(s, nrhs, [](Session& session, DealtColumns& a, DealtColumns& b) {
      return std::max({session.potrf_bytes(a), session.potrs_bytes(a, b), session.potri_bytes(a)});
    });
  }
  template <class T>
  static std::int64_t syevd_bytes(const Shape& s) {
    return ask<T>(s, 1, [](Session& session, DealtColumns& a, DealtColumns&) {
      return std::max(session.syevd_bytes(a, true), session.syevd_bytes(a, false));
    });
  }

 private:
  template <class T, class Ask>
  static std::int64_t ask(const Shape& s, std::int64_t nrhs, Ask&& ask) {
    std::vector<int> devices(static_cast<std::size_t>(s.ranks));
    std::iota(devices.begin(), devices.end(), 0);
    Session session;
    session.open(devices);
    PeerRanks ranks(s.ranks);
    auto some = ranks.matrix<T>(1, 1);
    std::vector<void*> parts;
    for (int r = 0; r < s.ranks; ++r) parts.push_back(some.view(r).data);
    DealtColumns a{ScalarTraits<T>::type, s.n, s.n, s.tile, parts}, b{a.type, s.n, nrhs, nrhs, parts};
    return std::max<std::int64_t>(256, ask(session, a, b));
  }
};

using OnGpus = ::testing::Types<Driven<OneGpuEach, float, Library>, Driven<OneGpuEach, double, Library>,
                                Driven<OneGpuEach, std::complex<float>, Library>,
                                Driven<OneGpuEach, std::complex<double>, Library>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Gpus, CusolverMgTest, OnGpus);

}  // namespace
}  // namespace jaxmg::testing
