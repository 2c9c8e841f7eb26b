// The planner of calls that cuSOLVERMg works on.
#pragma once

#include "backends/plan.h"

namespace jaxmg {

// Without the workspace that the library needs for itself, which only it can tell. For posv, potrf, potrs, potri and
// syevd, whose `nrhs` are the eigenvectors. Throws Error where the request cannot be met.
Plan make_cusolvermg_plan(const PlanRequest& request);

}  // namespace jaxmg
