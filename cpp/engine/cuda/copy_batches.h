// Cuts blocks into launches of the copy kernel.
#pragma once

#include <cuda_runtime_api.h>

#include <vector>

#include "comm/block.h"

namespace jaxmg::cuda {

// Thread blocks of a copy: enough to fill the links of a GPU, few enough to leave the others to GEMMs.
inline constexpr int link_blocks = 32;
inline constexpr int local_blocks = 264;

// Launches the copies of those blocks whose source is `rank`, to all their targets.
void copy_to_targets(cudaStream_t stream, int rank, const std::vector<MemoryRegions>& buffers,
                     const std::vector<Block>& blocks, int thread_blocks);

// Launches copies within this rank's memory; source and target of the blocks do not count.
void copy_locally(cudaStream_t stream, const std::vector<Block>& blocks);

}  // namespace jaxmg::cuda
