// Requirements of one call on its engine.
#pragma once

#include <cstdint>
#include <string>

#include "comm/block.h"

namespace jaxmg {

struct EngineNeeds {
  MemoryRegions buffers;       // buffers that other ranks may access
  MemoryRegion workspace;      // workspace of the engine and the routine
  std::string kind;            // calls of one kind launch the same kernels: only the first may have to load kernels
  bool data_decides;           // exception: the data decide which kernels are launched
  std::int64_t largest_potrf;  // order of the largest block for potrf
  std::int64_t processes;      // number of processes that the workspace is planned for
  bool one_at_work = false;    // no other rank computes: on CPUs, BLAS may use all of its threads
};

}  // namespace jaxmg
