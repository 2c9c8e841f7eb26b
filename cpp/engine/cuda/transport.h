// Transports: exchanges of blocks between GPUs. An exchange is ordered by the stream of its lane, and every rank must
// make the same exchanges in the same order.
#pragma once

#include <cuda_runtime_api.h>

#include <chrono>
#include <cstddef>
#include <vector>

#include "comm/block.h"
#include "comm/rendezvous.h"
#include "core/error.h"
#include "engine/engine.h"

namespace jaxmg::cuda {

// Per-call context of a transport.
struct Call {
  Participant& participant;
  std::chrono::milliseconds timeout;
  std::vector<MemoryRegions> buffers;  // of all ranks, as this rank addresses them; empty where it cannot
  std::byte* packing;                  // packed_bytes for each direction, or null if blocks are not packed
  bool first_of_its_kind;              // kernels may still have to be loaded, which may wait for all running work
};

// The error of a call whose ranks in other processes have not made progress within the time-out.
Error no_progress(const Participant& participant, int ranks, std::chrono::milliseconds timeout);

class Transport {
 public:
  virtual ~Transport() = default;
  virtual void begin(const Call& call) = 0;
  virtual void exchange(Lane lane, cudaStream_t stream, const std::vector<Block>& blocks) = 0;
  // Ensures that the work enqueued in `stream` so far terminates: called at the end of a call, and before the host
  // waits within a call. Waits on the host where only the host can detect a lost rank.
  virtual void complete(cudaStream_t stream) = 0;
  // After an error: enqueued work stops waiting for work that other ranks have not enqueued, or never will complete.
  // Any thread may call it, without calls of CUDA that may block; call it repeatedly until the device is idle.
  virtual void abandon() noexcept = 0;
};

}  // namespace jaxmg::cuda
