// The backends of CPUs: our own.
#pragma once

#include <cstdint>
#include <memory>

#include "backends/backend.h"
#include "backends/tiled_cholesky.h"
#include "backends/tiled_eigen.h"
#include "engine/host/host_engine.h"

namespace jaxmg {

template <>
struct Backends<HostEngine> {
  template <class T>
  static std::unique_ptr<CholeskyBackend<T, HostEngine>> cholesky(BackendName backend) {
    if (backend != BackendName::tiled) refuse(backend, "CPUs");
    return std::make_unique<TiledCholesky<T, HostEngine>>();
  }
  template <class T>
  static std::unique_ptr<EigenBackend<T, HostEngine>> eigen(BackendName backend) {
    if (backend != BackendName::tiled) refuse(backend, "CPUs");
    return std::make_unique<TiledEigen<T, HostEngine>>();
  }
  template <class T>
  static std::int64_t solver_bytes(BackendName backend, HostEngine&, const SolverQuery&, Arena) {
    refuse(backend, "CPUs");
  }
};

}  // namespace jaxmg
