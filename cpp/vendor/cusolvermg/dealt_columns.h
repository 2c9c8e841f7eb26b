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

// Row interchanges of a factorisation as LAPACK has them, dealt like the columns that they belong to.
using DealtPivots = std::vector<std::int32_t*>;

// What a call works on: a matrix and, where a routine has them, right-hand sides and row interchanges.
struct DealtOperands {
  DealtColumns a, b;
  DealtPivots pivots;
};

}  // namespace jaxmg
