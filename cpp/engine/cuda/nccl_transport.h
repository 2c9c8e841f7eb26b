// NCCL transport: ranks in several processes, or on GPUs without access to each other's memory, send and receive packed
// blocks (engine/messages.h). One communicator serves all lanes, in the order of the algorithm's exchanges.
#pragma once

#include <nccl.h>

#include <chrono>
#include <cstdint>
#include <mutex>
#include <vector>

#include "engine/cuda/transport.h"
#include "engine/messages.h"

namespace jaxmg::cuda {

class NcclTransport final : public Transport {
 public:
  // Returns once all ranks have called it with the same id; throws on time-out.
  NcclTransport(Participant& participant, int ranks, const ncclUniqueId& id, std::chrono::milliseconds timeout);
  ~NcclTransport() override;
  NcclTransport(const NcclTransport&) = delete;
  NcclTransport& operator=(const NcclTransport&) = delete;

  void begin(const Call& call) override;
  void exchange(Lane lane, cudaStream_t stream, const std::vector<Block>& blocks) override;
  void complete(cudaStream_t stream) override;
  void abandon() noexcept override;

 private:
  void transfer(const MessageRound& round);
  // Waits until a call of NCCL is no longer in progress, and checks its result.
  void settle(ncclResult_t result, const char* what);
  // NCCL's asynchronous error state.
  ncclResult_t state();
  // Call under the lock, before each use of NCCL: throws if the communicator has been aborted.
  void check_in_use();
  // Waits until done(). Throws if another rank of this process fails, or if no exchange finishes within the time-out.
  template <class Done>
  void wait_until(Done&& done);
  // Whether exchanges of this call have finished since the last query.
  bool made_progress();
  void release() noexcept;

  Participant* participant_;
  int rank_, ranks_;
  std::chrono::milliseconds timeout_;
  std::byte* scratch_ = nullptr;
  // The host waits for each exchange: while NCCL's kernels wait for other ranks, no kernel can be loaded on this GPU,
  // and the other ranks may be blocked likewise.
  bool lockstep_ = false;
  std::byte* own_scratch_ = nullptr;  // for a process whose GPUs do not reach each other, which plans do not cover
  cudaStream_t network_{};
  cudaEvent_t reached_{};
  std::vector<cudaEvent_t> arrived_;  // at the end of each exchange of the call; unused events may follow
  std::size_t exchanges_ = 0;         // of the call
  std::size_t finished_ = 0;
  std::mutex mutex_;  // guards the communicator, which another thread may abort
  ncclComm_t communicator_{};
};

}  // namespace jaxmg::cuda
