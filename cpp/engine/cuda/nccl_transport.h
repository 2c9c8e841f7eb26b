// Ranks in several processes, or on GPUs that do not see each other's memory: blocks travel packed, by NCCL's
// send and receive. One communicator serves all lanes, in the order in which the algorithm makes its exchanges.
#pragma once

#include <nccl.h>

#include <chrono>
#include <cstdint>
#include <mutex>
#include <vector>

#include "engine/cuda/transport.h"

namespace jaxmg::cuda {

class NcclTransport final : public Transport {
 public:
  // Returns once all ranks have called it with the same id; throws if they have not when the time is up.
  NcclTransport(Participant& participant, int ranks, const ncclUniqueId& id, std::chrono::milliseconds timeout);
  ~NcclTransport() override;
  NcclTransport(const NcclTransport&) = delete;
  NcclTransport& operator=(const NcclTransport&) = delete;

  void begin(const Call& call) override;
  void exchange(Lane lane, cudaStream_t stream, const std::vector<Block>& blocks) override;
  void complete(cudaStream_t stream) override;
  void abandon() noexcept override;

 private:
  // Waits until a call of NCCL is no longer in progress, and checks it.
  void settle(ncclResult_t result, const char* what);
  // What NCCL has to say about what it does in the background.
  ncclResult_t state();
  // To be called under the lock, for as long as NCCL is used: throws if the communicator has been given up.
  void check_in_use();
  // Throws if another rank of this process fails, or when the time is up, which it is while no exchange comes to its
  // end.
  template <class Done>
  void wait_until(Done&& done);
  // Whether exchanges of this call have come to their end since the last time.
  bool goes_on();
  void release() noexcept;

  Participant* participant_;
  int rank_, ranks_;
  std::chrono::milliseconds timeout_;
  std::byte* scratch_ = nullptr;
  // The host waits for each exchange: while NCCL's kernels wait for other ranks no kernel can be loaded here, and
  // the others may be waiting likewise.
  bool lockstep_ = false;
  std::byte* own_scratch_ = nullptr;  // in a process whose GPUs do not reach each other, which no plan foresees
  cudaStream_t network_{};
  cudaEvent_t reached_{};
  std::vector<cudaEvent_t> arrived_;  // at the end of each exchange of the call; more of an earlier one may follow
  std::size_t exchanges_ = 0;         // of the call
  std::size_t finished_ = 0;
  std::mutex mutex_;  // of the communicator, which another thread may give up
  ncclComm_t communicator_{};
};

}  // namespace jaxmg::cuda
