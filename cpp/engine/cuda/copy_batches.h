// Launches of the copy kernel for the blocks of an exchange.
#pragma once

#include <cuda_runtime_api.h>

#include <vector>

#include "comm/block.h"

namespace jaxmg::cuda {

// Thread blocks of a copy: enough to saturate the links of a GPU, few enough to leave the other multiprocessors to
// GEMMs.
inline constexpr int link_blocks = 32;
inline constexpr int local_blocks = 264;

// Launches copies of the blocks with source `rank` to all their targets.
void copy_to_targets(cudaStream_t stream, int rank, const std::vector<MemoryRegions>& buffers,
                     const std::vector<Block>& blocks, int thread_blocks);

// Launches copies within this rank's memory; sources and targets of the blocks are ignored.
void copy_locally(cudaStream_t stream, const std::vector<Block>& blocks);

}  // namespace jaxmg::cuda
