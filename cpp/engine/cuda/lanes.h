// Lanes of a rank on its GPU: streams, handles and events. They are created once and used by one call at a time; work
// of one call may still run when the next call enqueues its own.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cusolverDn.h>

#include <array>
#include <cstddef>
#include <vector>

#include "engine/engine.h"

namespace jaxmg::cuda {

class Lanes {
 public:
  Lanes();  // on the current device
  ~Lanes();
  Lanes(const Lanes&) = delete;
  Lanes& operator=(const Lanes&) = delete;

  cudaStream_t stream(Lane lane) const { return streams_[index(lane)]; }
  cublasHandle_t blas(Lane lane) const { return blas_[index(lane)]; }
  // cuSOLVER bound to a lane.
  cusolverDnHandle_t solver(Lane lane);

  cudaEvent_t record(cudaStream_t stream);
  static void wait(cudaStream_t stream, cudaEvent_t event);

  // All lanes wait for `stream`, or `stream` for all lanes, or all lanes for each other.
  void fork_from(cudaStream_t stream);
  void join_into(cudaStream_t stream);
  void join() {
    join_into(stream(Lane::panel));
    fork_from(stream(Lane::panel));
  }

  // Events recorded so far may be recorded again; waits already enqueued for them are unaffected.
  void recycle_events() { used_events_ = 0; }
  // Whether all enqueued work has finished.
  bool idle() const noexcept;

 private:
  static std::size_t index(Lane lane) { return static_cast<std::size_t>(lane); }

  std::array<cudaStream_t, lane_count> streams_{};
  std::array<cublasHandle_t, lane_count> blas_{};
  cusolverDnHandle_t solver_{};
  std::vector<cudaEvent_t> events_;
  std::size_t used_events_ = 0;
};

}  // namespace jaxmg::cuda
