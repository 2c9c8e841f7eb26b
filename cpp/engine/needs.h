// What an engine has to be made for, in one call.
#pragma once

#include <cstdint>
#include <string>

#include "comm/block.h"

namespace jaxmg {

struct EngineNeeds {
  MemoryRegions buffers;       // that other ranks may access
  MemoryRegion workspace;      // for the engine and the routine
  std::string kind;            // of two calls of the same kind, the second launches no kernel for the first time
  bool data_decides;           // ... unless the numbers decide what is launched
  std::int64_t largest_potrf;  // order of the largest block that potrf factors
  std::int64_t processes;      // that the workspace is planned for
};

}  // namespace jaxmg
