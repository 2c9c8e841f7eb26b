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

struct DealtWorkspace {
  std::vector<void*> parts;
  std::int64_t bytes;  // on each rank
};

}  // namespace jaxmg
