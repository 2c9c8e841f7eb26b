// How blocks travel between GPUs. Both transports order an exchange by the stream of its lane, and both expect
// every rank to make the same exchanges in the same order.
#pragma once

#include <cuda_runtime_api.h>

#include <chrono>
#include <cstddef>
#include <vector>

#include "comm/block.h"
#include "comm/gathering.h"
#include "engine/engine.h"

namespace jaxmg::cuda {

// What a transport is told of the call that begins.
struct Call {
  Attendance& attendance;
  std::chrono::milliseconds timeout;
  std::vector<MemoryRegions> buffers;  // of all ranks; of those in other processes empty
  std::byte* packing;                  // packed_bytes for each direction, or null where no plan foresees packing
  bool first_of_its_kind;              // kernels may have to be loaded, which may wait for all that runs
};

class Transport {
 public:
  virtual ~Transport() = default;
  virtual void begin(const Call& call) = 0;
  virtual void exchange(Lane lane, cudaStream_t stream, const std::vector<Block>& blocks) = 0;
  // What has been enqueued into `stream` so far is to come to its end: at the end of a call, and before the host waits
  // within one. Waits on the host where only that shows that another rank is gone.
  virtual void complete(cudaStream_t stream) = 0;
  // After an error: nothing that was enqueued waits any longer for what other ranks have not enqueued. Another thread
  // than that of the call may say so, too.
  virtual void abandon() noexcept = 0;
};

}  // namespace jaxmg::cuda
