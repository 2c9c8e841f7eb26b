// What Python asks the CUDA library about cuSOLVERMg.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>
#include <numeric>
#include <vector>

#include "backends/plan.h"
#include "core/error.h"
#include "core/scalar.h"
#include "engine/cuda/check.h"
#include "engine/cuda/cusolvermg.h"
#include "engine/dealt_columns.h"
#include "ffi/c_api.h"

namespace jaxmg {
namespace {

using cuda::CusolverMgSession;

// What the library is asked about has to be somewhere, though nobody looks at it.
class SomeMemory {
 public:
  SomeMemory() { JAXMG_CHECK(cudaGetDevice(&current_)); }
  void take(int devices) {
    for (int d = 0; d < devices; ++d) {
      JAXMG_CHECK(cudaSetDevice(d));
      parts_.push_back(nullptr);
      JAXMG_CHECK(cudaMalloc(&parts_.back(), 256));
    }
  }
  ~SomeMemory() {
    for (void* const part : parts_) cudaFree(part);
    cudaSetDevice(current_);
  }
  SomeMemory(const SomeMemory&) = delete;
  SomeMemory& operator=(const SomeMemory&) = delete;

  const std::vector<void*>& parts() const { return parts_; }

 private:
  int current_ = 0;
  std::vector<void*> parts_;
};

// The first devices of the process stand for any: needs depend on their number.
class Sessions {
 public:
  template <class Ask>
  std::int64_t ask(int devices, Ask&& ask) {
    std::lock_guard lock(mutex_);
    CusolverMgSession& session = sessions_[devices];
    std::vector<int> all(static_cast<std::size_t>(devices));
    std::iota(all.begin(), all.end(), 0);
    session.open(all);
    return ask(session);
  }
  static Sessions& instance() {
    static auto* const sessions = new Sessions;  // never destroyed: CUDA may be gone before statics are
    return *sessions;
  }

 private:
  std::mutex mutex_;
  std::map<int, CusolverMgSession> sessions_;
};

std::int64_t workspace(CusolverMgSession& session, Routine routine, DealtColumns& a, DealtColumns& b, bool vectors) {
  switch (routine) {
    case Routine::posv:
      return std::max(session.potrf_bytes(a), session.potrs_bytes(a, b));
    case Routine::potrf:
      return session.potrf_bytes(a);
    case Routine::potrs:
      return session.potrs_bytes(a, b);
    case Routine::potri:
      return session.potri_bytes(a);
    case Routine::syevd:
      return session.syevd_bytes(a, vectors);
    default:
      throw Error(ErrorCode::invalid_argument, "cuSOLVERMg does not have the routine");
  }
}

}  // namespace
}  // namespace jaxmg

// Loads cuSOLVERMg and tells its version, 10000 major + 100 minor + patch. Returns 0, or 1 with the reason in
// `message`.
JAXMG_EXPORT int jaxmg_cusolvermg_load(std::int64_t* version, char* message, std::int64_t message_size) {
  return jaxmg::answered(message, message_size, [&] {
    jaxmg::cuda::CusolverMg::instance();
    *version = jaxmg::cuda::CusolverMg::version();
  });
}

// How many bytes of workspace a call needs on each device. `count` is the number of right-hand sides, of which each
// rank has a share if `distributed`, or of eigenvectors. Returns as jaxmg_cusolvermg_load.
JAXMG_EXPORT int jaxmg_cusolvermg_workspace(std::int64_t routine, std::int64_t n, std::int64_t count,
                                            std::int64_t dtype, std::int64_t ranks, std::int64_t tile,
                                            std::int64_t distributed, std::int64_t* bytes, char* message,
                                            std::int64_t message_size) {
  using namespace jaxmg;
  return answered(message, message_size, [&] {
    const int devices = checked_int(ranks, "the number of devices");
    *bytes = Sessions::instance().ask(devices, [&](CusolverMgSession& session) {
      SomeMemory memory;
      memory.take(devices);
      const auto type = static_cast<ScalarType>(dtype);
      const std::int64_t share = distributed != 0 ? (count + ranks - 1) / ranks : count;
      DealtColumns a{type, n, n, tile, memory.parts()};
      DealtColumns b{type, n, distributed != 0 ? ranks * share : share, share, memory.parts()};
      return workspace(session, static_cast<Routine>(routine), a, b, count > 0);
    });
  });
}
