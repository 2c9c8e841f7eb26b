// Workspace of a vendor's solver.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"

namespace jaxmg {

// Memory on each rank for calls of a solver. Without memory it measures, like Arena: calls then only record the bytes
// that they need.
struct VendorWorkspace {
  std::vector<void*> parts;
  std::int64_t bytes = 0;  // of each part; measured: the most that a call needs

  // Whether to run a routine that needs this many bytes. Throws Error if the parts have fewer.
  bool suffices(const char* routine, std::int64_t needed) {
    if (parts.empty()) {
      bytes = std::max(bytes, needed);
      return false;
    }
    if (needed > bytes) {
      throw Error(ErrorCode::internal, std::string(routine) + " needs " + std::to_string(needed) +
                                           " bytes of workspace, but " + std::to_string(bytes) + " were planned");
    }
    return true;
  }
};

}  // namespace jaxmg
