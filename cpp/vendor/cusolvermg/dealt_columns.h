// What a solver is told that one thread calls for all ranks of a process.
#pragma once

#include <cstdint>
#include <vector>

#include "core/scalar.h"

namespace jaxmg {

// A matrix whose columns are dealt to the ranks in blocks, round-robin.
struct DealtColumns {
  ScalarType type;
  std::int64_t rows, columns, block;
  std::vector<void*> parts;  // of each rank, the leading dimension being `rows`
};

}  // namespace jaxmg
