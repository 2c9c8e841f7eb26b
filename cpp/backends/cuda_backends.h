// The backends of NVIDIA GPUs.
#pragma once

#include <memory>

#include "backends/backend.h"
#include "backends/tiled_cholesky.h"
#include "backends/tiled_eigen.h"
#include "engine/cuda/cuda_engine.h"

namespace jaxmg {

template <>
struct Backends<cuda::CudaEngine> {
  template <class T>
  static std::unique_ptr<CholeskyBackend<T, cuda::CudaEngine>> cholesky(BackendName backend) {
    if (backend != BackendName::tiled) refuse(backend, "GPUs");
    return std::make_unique<TiledCholesky<T, cuda::CudaEngine>>();
  }
  template <class T>
  static std::unique_ptr<EigenBackend<T, cuda::CudaEngine>> eigen(BackendName backend) {
    if (backend != BackendName::tiled) refuse(backend, "GPUs");
    return std::make_unique<TiledEigen<T, cuda::CudaEngine>>();
  }
};

}  // namespace jaxmg
