// What every planner refuses.
#pragma once

#include <cstdint>
#include <string>

#include "core/error.h"

namespace jaxmg {

inline void require(bool holds, const std::string& what) {
  if (!holds) throw Error(ErrorCode::invalid_argument, what);
}

// A request has a matrix of order n, ranks, and the tile size that was asked for, or 0.
template <class Request>
void check_sizes(const Request& q) {
  require(q.n >= 1, "n must be at least 1, got " + std::to_string(q.n));
  require(q.ranks >= 1, "the number of devices must be at least 1, got " + std::to_string(q.ranks));
  require(q.tile >= 0, "the tile size must be at least 1, got " + std::to_string(q.tile));
  require(q.n < (std::int64_t{1} << 29), "n = " + std::to_string(q.n) + " exceeds what 32-bit sizes of BLAS allow");
}

// A plan that needs more workspace than it may, and cannot do with less.
template <class Request, class Plan>
[[noreturn]] void refuse_limit(const Request& q, const Plan& plan) {
  throw Error(ErrorCode::resource_exhausted,
              "the least workspace for n = " + std::to_string(q.n) + " with tiles of " + std::to_string(plan.tile) +
                  " columns is " + std::to_string(plan.workspace_bytes) + " bytes per device, the limit is " +
                  std::to_string(q.workspace_limit));
}

}  // namespace jaxmg
