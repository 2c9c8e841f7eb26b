// The planner of eigenvalue problems: all that is decided before a call runs, from sizes alone.
#pragma once

#include <cstdint>

#include "algorithms/eigen/syevd.h"
#include "backends/cost_model.h"
#include "core/scalar.h"
#include "engine/scratch.h"

namespace jaxmg {

struct EigenRequest {
  std::int64_t n;
  ScalarType type;
  std::int64_t ranks;
  std::int64_t tile;  // 0: the planner chooses
  Platform platform;
  std::int64_t processes;
  std::int64_t workspace_limit;  // bytes per device; 0: as much as is useful
  std::int64_t vectors;          // eigenvectors wanted, at most n
  Network network = {};
};

struct EigenPlan {
  std::int64_t tile;  // columns of a tile
  SyevdBlocking blocking;
  std::int64_t workspace_bytes;  // per device
  std::int64_t shard_bytes;      // of the matrix, per device
  std::int64_t vector_bytes;     // of the eigenvectors, per device
  double seconds;                // estimate
};

// Throws Error where the request cannot be met (sizes out of range, a limit below the least workspace).
EigenPlan make_eigen_plan(const EigenRequest& request);

}  // namespace jaxmg
