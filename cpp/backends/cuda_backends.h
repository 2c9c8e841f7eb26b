// The backends of NVIDIA GPUs.
#pragma once

#include <memory>

#include "backends/backend.h"
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
    if (backend == BackendName::tiled) return std::make_unique<TiledCholesky<T, cuda::CudaEngine>>();
    if (backend == BackendName::cusolvermg)
      return std::make_unique<CusolverMgCholesky<T, cuda::CudaEngine, cuda::CusolverMgSession>>();
    refuse(backend, "GPUs");
  }
  template <class T>
  static std::unique_ptr<EigenBackend<T, cuda::CudaEngine>> eigen(BackendName backend) {
    if (backend == BackendName::tiled) return std::make_unique<TiledEigen<T, cuda::CudaEngine>>();
    if (backend == BackendName::cusolvermg)
      return std::make_unique<CusolverMgEigen<T, cuda::CudaEngine, cuda::CusolverMgSession>>();
    refuse(backend, "GPUs");
  }
};

}  // namespace jaxmg
