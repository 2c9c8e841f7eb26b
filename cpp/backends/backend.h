// Who does the work of a call. Python chooses (python/jaxmg/_backends.py), and the call says so.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backends/cholesky.h"
#include "backends/eigen.h"
#include "backends/plan.h"
#include "core/arena.h"
#include "core/error.h"
#include "layout/block_cyclic.h"

namespace jaxmg {

enum class BackendName : std::int64_t {
  tiled = 0,  // this library's own algorithms
  cusolvermg = 1,
  cusolvermp = 2,
};

// The backends of an engine:
//   template <class T> static std::unique_ptr<CholeskyBackend<T, E>> cholesky(BackendName);
//   template <class T> static std::unique_ptr<EigenBackend<T, E>> eigen(BackendName);
//   template <class T> static std::int64_t solver_bytes(BackendName, E&, const SolverQuery&, Arena);
// Defined for each platform, in host_backends.h and cuda_backends.h. They throw Error where there is no such backend.
template <class E>
struct Backends;

// How much workspace does a vendor's solver on a grid of ranks need for itself? All ranks ask together.
struct SolverQuery {
  Routine routine;        // posv, potrf or syevd
  std::int64_t n, count;  // right-hand sides, or eigenvectors
  std::int64_t tile;      // order of its square tiles
  ProcessGrid grid;
};

[[noreturn]] inline void refuse(BackendName backend, const char* platform) {
  throw Error(ErrorCode::invalid_argument,
              "there is no backend number " + std::to_string(static_cast<std::int64_t>(backend)) + " on " + platform);
}

}  // namespace jaxmg
