// Arguments of solvers that one thread drives for all ranks of a process (cuSOLVERMg).
#pragma once

#include <cstdint>
#include <vector>

#include "core/scalar.h"

namespace jaxmg {

// A matrix whose columns are dealt to the ranks in blocks, round-robin.
struct DealtColumns {
  ScalarType type;
  std::int64_t rows, columns, block;
  std::vector<void*> parts;  // of each rank, with leading dimension `rows`
};

// LAPACK's row interchanges of a factorisation, dealt like the columns of the matrix.
using DealtPivots = std::vector<std::int32_t*>;

// Operands of a call: a matrix and, for some routines, right-hand sides and row interchanges.
struct DealtOperands {
  DealtColumns a, b;
  DealtPivots pivots;
};

}  // namespace jaxmg
