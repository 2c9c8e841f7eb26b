// Instances of the algorithms over the CUDA engine, compiled in jaxmg_algorithms_cuda.
#pragma once

#include "algorithms/instances.h"
#include "engine/cuda/cuda_engine.h"

namespace jaxmg {

JAXMG_ALL_ALGORITHMS(extern, cuda::CudaEngine)

}  // namespace jaxmg
