// The vendors' solvers on NVIDIA GPUs.
#pragma once

#include <cstdint>

#include "engine/cuda/cuda_engine.h"
#include "routines/serve.h"
#include "routines/served/cusolvermp/solver.h"
#include "vendor/cusolvermg/call.h"
#include "vendor/cusolvermg/cuda/session.h"
#include "vendor/cusolvermp/cuda/session.h"

namespace jaxmg {

template <>
struct BackendsOn<cuda::CudaEngine> {
  using type = Backends;
};

template <>
struct CusolverMgOn<cuda::CudaEngine> {
  using Session = cuda::CusolverMgSession;
};

template <>
struct CusolverMpOn<cuda::CudaEngine> {
  static_assert(cuda::CusolverMp::id_words <= SolverWorkspace::word_count);

  static cuda::CusolverMp& get(cuda::CudaEngine& engine, std::uint32_t* words) {
    return cuda::CusolverMp::of(engine, words);
  }
};

}  // namespace jaxmg
