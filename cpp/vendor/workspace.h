// Workspace of a vendor's solver.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"

namespace jaxmg {

// Memory on each rank that a solver is called for. Without any it measures, like Arena: calls of the solver then record
// how much they need, and do nothing else.
struct VendorWorkspace {
  std::vector<void*> parts;
  std::int64_t bytes = 0;  // of each part; or the most that a call has needed

  // Whether a routine that needs so many bytes is to run. Throws Error if there are not as many.
  bool suffices(const char* routine, std::int64_t needed) {
    if (parts.empty()) {
      bytes = std::max(bytes, needed);
      return false;
    }
    if (needed > bytes) {
      throw Error(ErrorCode::internal, std::string(routine) + " wants " + std::to_string(needed) +
                                           " bytes of workspace, " + std::to_string(bytes) + " were planned");
    }
    return true;
  }
};

}  // namespace jaxmg
