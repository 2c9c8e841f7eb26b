// The backends of NVIDIA GPUs.
#pragma once

#include <cstdint>
#include <memory>

#include "backends/backend.h"
#include "backends/block_cyclic_cholesky.h"
#include "backends/block_cyclic_eigen.h"
#include "backends/cuda_cusolvermp.h"
#include "backends/cusolvermg_cholesky.h"
#include "backends/cusolvermg_eigen.h"
#include "backends/tiled_cholesky.h"
#include "backends/tiled_eigen.h"
#include "engine/cuda/cuda_engine.h"
#include "engine/cuda/cusolvermg.h"

namespace jaxmg {

template <>
struct Backends<cuda::CudaEngine> {
  template <class T>
  static std::unique_ptr<CholeskyBackend<T, cuda::CudaEngine>> cholesky(BackendName backend) {
    switch (backend) {
      case BackendName::tiled:
        return std::make_unique<TiledCholesky<T, cuda::CudaEngine>>();
      case BackendName::cusolvermg:
        return std::make_unique<CusolverMgCholesky<T, cuda::CudaEngine, cuda::CusolverMgSession>>();
      case BackendName::cusolvermp:
        return std::make_unique<BlockCyclicCholesky<T, cuda::CudaEngine, CusolverMpSolver>>();
    }
    refuse(backend, "GPUs");
  }
  template <class T>
  static std::unique_ptr<EigenBackend<T, cuda::CudaEngine>> eigen(BackendName backend) {
    switch (backend) {
      case BackendName::tiled:
        return std::make_unique<TiledEigen<T, cuda::CudaEngine>>();
      case BackendName::cusolvermg:
        return std::make_unique<CusolverMgEigen<T, cuda::CudaEngine, cuda::CusolverMgSession>>();
      case BackendName::cusolvermp:
        return std::make_unique<BlockCyclicEigen<T, cuda::CudaEngine, CusolverMpSolver>>();
    }
    refuse(backend, "GPUs");
  }
  template <class T>
  static std::int64_t solver_bytes(BackendName backend, cuda::CudaEngine& engine, const SolverQuery& q,
                                   Arena workspace) {
    if (backend != BackendName::cusolvermp) refuse(backend, "GPUs that is a solver on a grid");
    if (q.routine == Routine::syevd) {
      return BlockCyclicEigen<T, cuda::CudaEngine, CusolverMpSolver>::solver_bytes(engine, q.n, q.count > 0, q.tile,
                                                                                   q.grid, workspace);
    }
    const std::int64_t nrhs = q.routine == Routine::posv ? q.count : 0;
    return BlockCyclicCholesky<T, cuda::CudaEngine, CusolverMpSolver>::solver_bytes(engine, q.n, nrhs, q.tile, q.grid,
                                                                                    workspace);
  }
};

}  // namespace jaxmg
