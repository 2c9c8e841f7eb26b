// The planner of calls that a solver of block-cyclic matrices works on (block_cyclic_cholesky.h).
#pragma once

#include <cstdint>

#include "backends/plan.h"
#include "layout/block_cyclic.h"

namespace jaxmg {

// A grid with so many rows, or if that is 0 the squarest one.
ProcessGrid grid_of(std::int64_t ranks, std::int64_t rows);

// For posv, potrf and syevd (whose `nrhs` are the eigenvectors) on GPUs, on that grid. `pivot` is the order of the
// solver's square tiles, and for syevd so is `tile`; of potrf and posv, `tile` is that of our own backend, which goes
// on with the factor. The workspace lacks what the solver needs for itself, which only it can tell (solver_bytes of its
// backends): that many bytes are to be added.
Plan make_grid_plan(const PlanRequest& request, std::int64_t grid_rows);

}  // namespace jaxmg
