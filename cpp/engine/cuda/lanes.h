// Lanes of a rank on its GPU: streams, handles and events. They are created once and used by one call at a time; work
// of one call may still run when the next call enqueues its own.
//
// Lanes that are forked or joined wait only when they are next used, and only lanes in use are waited for: asking for
// the stream or a handle of a lane counts as use. Call for them before each piece of work, and keep none.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cusolverDn.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/engine.h"

namespace jaxmg::cuda {

class Lanes {
 public:
  Lanes();  // on the current device
  ~Lanes();
  Lanes(const Lanes&) = delete;
  Lanes& operator=(const Lanes&) = delete;

  cudaStream_t stream(Lane lane);
  // With the lent workspace if `in_lent` and there is one, otherwise with the lane's own.
  cublasHandle_t blas(Lane lane, bool in_lent = false);
  // A second workspace for a lane's BLAS, until the call ends or another one is lent; or none.
  void lend(Lane lane, std::byte* workspace, std::int64_t bytes);
  // Of the device.
  std::int64_t multiprocessors() const { return multiprocessors_; }
  // cuSOLVER bound to a lane.
  cusolverDnHandle_t solver(Lane lane);

  cudaEvent_t record(cudaStream_t stream);
  static void wait(cudaStream_t stream, cudaEvent_t event);

  // Begins a call: all lanes wait for `stream`. Events recorded before may be recorded again; waits already enqueued
  // for them are unaffected. Each lane's BLAS has a workspace of `workspace_bytes`.
  void begin(cudaStream_t stream, const std::array<std::byte*, lane_count>& workspaces, std::size_t workspace_bytes);
  // Ends a call: `stream` waits for all lanes.
  void end(cudaStream_t stream);
  // All lanes wait for each other.
  void join();

  // Whether all enqueued work has finished.
  bool idle() const noexcept;

 private:
  // A lane since the last fork.
  struct State {
    bool behind = false;  // it does not wait for the fork yet
    bool used = false;
    std::byte *own_workspace = nullptr, *lent_workspace = nullptr;
    std::size_t lent_bytes = 0;
    std::byte* workspace = nullptr;  // as set in the cuBLAS handle; null: unknown
  };
  static std::size_t index(Lane lane) { return static_cast<std::size_t>(lane); }

  void fork_from(cudaStream_t stream);
  void join_into(cudaStream_t stream);

  std::array<cudaStream_t, lane_count> streams_{};
  std::array<cublasHandle_t, lane_count> blas_{};
  std::array<State, lane_count> states_{};
  cudaEvent_t fork_ = nullptr;
  std::size_t workspace_bytes_ = 0;
  int multiprocessors_ = 0;
  cusolverDnHandle_t solver_{};
  std::vector<cudaEvent_t> events_;
  std::size_t used_events_ = 0;
};

}  // namespace jaxmg::cuda
