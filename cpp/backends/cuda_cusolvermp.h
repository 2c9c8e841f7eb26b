// cuSOLVERMp as a solver of block-cyclic matrices (block_cyclic_cholesky.h).
#pragma once

#include <cstdint>

#include "backends/block_cyclic_cholesky.h"
#include "engine/cuda/cuda_engine.h"
#include "engine/cuda/cusolvermp.h"

namespace jaxmg {

struct CusolverMpSolver {
  static_assert(cuda::CudaEngine::nccl_id_words <= SolverWorkspace::word_count);

  static cuda::CusolverMp& get(cuda::CudaEngine& engine, std::uint32_t* words) { return engine.cusolvermp(words); }
};

}  // namespace jaxmg
