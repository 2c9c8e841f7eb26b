// The planner: all that is decided before a call runs, from sizes alone.
#pragma once

#include <cstdint>

#include "backends/cost_model.h"
#include "core/scalar.h"
#include "engine/scratch.h"
#include "layout/tile_columns.h"

namespace jaxmg {

// As CholeskyBackend has them, and what Python calls on its own.
enum class Routine : std::int64_t {
  posv = 0,
  redistribute = 1,
  potrf = 2,
  potrs = 3,
  potri = 4,
  lower = 5,
  diagonal = 6,
  syevd = 7,         // has a planner of its own, see eigen_plan.h
  solver_bytes = 8,  // asks a vendor's solver what it needs, see backend.h
};

struct PlanRequest {
  Routine routine;
  std::int64_t n;
  std::int64_t nrhs;  // 1 where there are none; redistribute: elements of a row
  ScalarType type;
  std::int64_t ranks;
  std::int64_t tile;  // 0: the planner chooses; a factor's own is left as it is
  Platform platform;
  std::int64_t processes;
  std::int64_t workspace_limit;  // bytes per device; 0: half the shard where that is possible
  Network network = {};
};

struct Plan {
  std::int64_t tile;             // columns of a tile
  std::int64_t pivot;            // columns of a block pivot, the depth of the updates
  std::int64_t slots;            // sets of panel buffers
  std::int64_t distributed_rhs;  // 1: each rank solves its own right-hand sides, 0: all ranks solve all
  std::int64_t workspace_bytes;  // per device
  std::int64_t shard_bytes;      // of the matrix, per device
  std::int64_t rhs_bytes;        // per device
  double seconds;                // estimate
};

// Throws Error where the request cannot be met (sizes out of range, a limit below the least workspace).
Plan make_plan(const PlanRequest& request);

// Estimated time of the same call on a two-dimensional grid of ranks, as cuSOLVERMp takes it; for posv, potrf, potrs
// and syevd (whose `nrhs` are the eigenvectors), on GPUs. Throws Error for others.
double grid_seconds(const PlanRequest& request);

}  // namespace jaxmg
