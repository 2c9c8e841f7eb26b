// List of routines: the name that Python calls, and the struct in routines.h that runs it.
#pragma once

// visit(name, routine) for each of them.
// clang-format off
#define JAXMG_ROUTINES(visit) \
  visit(posv, Posv)           \
  visit(potrf, Potrf)         \
  visit(potrs, Potrs)         \
  visit(potri, Potri)         \
  visit(lower, Lower)         \
  visit(diagonal, Diagonal)   \
  visit(syevd, Syevd)         \
  visit(redistribute, Redistribute) \
  visit(solver_bytes, SolverBytes)
// clang-format on
