// What Python asks the CUDA library about vendors' solvers.
#include <cuda_runtime_api.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <numeric>
#include <span>
#include <vector>

#include "core/error.h"
#include "engine/cuda/check.h"
#include "ffi/c_api.h"
#include "routines/planning.h"
#include "routines/table.h"
#include "vendor/cusolvermg/cuda/session.h"
#include "vendor/cusolvermp/cuda/library.h"

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

// How many bytes of workspace the library needs for itself on each device, in the call of an encoded plan. Returns as
// jaxmg_cusolvermg_load.
JAXMG_EXPORT int jaxmg_cusolvermg_workspace(const std::int64_t* words, std::int64_t count, std::int64_t* bytes,
                                            char* message, std::int64_t message_size) {
  using namespace jaxmg;
  return answered(message, message_size, [&] {
    std::span<const std::int64_t> encoded(words, static_cast<std::size_t>(count));
    const auto header = decode<Header>(encoded);
    with_served<Routines, Backends>(header, "GPUs", [&]<class S, class R>() {
      if constexpr (serves<CusolverMg, R> && std::same_as<S, Served<CusolverMg, R>>) {
        const auto [problem, plan] = decoded<S>(encoded);
        const int devices = checked_int(problem.ranks, "the number of devices");
        *bytes = Sessions::instance().ask(devices, [&](CusolverMgSession& session) {
          SomeMemory memory;
          memory.take(devices);
          return S::library_bytes(session, problem, plan, memory.parts());
        });
      } else {
        throw Error(ErrorCode::invalid_argument, "the plan is not one for cuSOLVERMg");
      }
    });
  });
}

// As jaxmg_cusolvermg_load, for cuSOLVERMp.
JAXMG_EXPORT int jaxmg_cusolvermp_load(std::int64_t* version, char* message, std::int64_t message_size) {
  return jaxmg::answered(message, message_size,
                         [&] { *version = jaxmg::cuda::CusolverMpLibrary::instance().version(); });
}
