#include "engine/cuda/lanes.h"

#include <algorithm>

#include "engine/cuda/check.h"

namespace jaxmg::cuda {

Lanes::Lanes() {
  int least = 0, greatest = 0;  // higher priorities are smaller numbers
  JAXMG_CHECK(cudaDeviceGetStreamPriorityRange(&least, &greatest));
  for (int i = 0; i < lane_count; ++i) {
    const auto lane = static_cast<std::size_t>(i);
    const int priority = i >= static_cast<int>(Lane::bulk) ? least : std::min(least, greatest + i);
    JAXMG_CHECK(cudaStreamCreateWithPriority(&streams_[lane], cudaStreamNonBlocking, priority));
    JAXMG_CHECK(cublasCreate(&blas_[lane]));
    JAXMG_CHECK(cublasSetStream(blas_[lane], streams_[lane]));
  }
  JAXMG_CHECK(cusolverDnCreate(&solver_));
}

Lanes::~Lanes() {
  if (solver_ != nullptr) cusolverDnDestroy(solver_);
  for (cublasHandle_t handle : blas_) {
    if (handle != nullptr) cublasDestroy(handle);
  }
  for (cudaStream_t stream : streams_) {
    if (stream != nullptr) cudaStreamDestroy(stream);
  }
  for (cudaEvent_t event : events_) cudaEventDestroy(event);
}

cusolverDnHandle_t Lanes::solver(Lane lane) {
  JAXMG_CHECK(cusolverDnSetStream(solver_, stream(lane)));
  return solver_;
}

cudaEvent_t Lanes::record(cudaStream_t stream) {
  if (used_events_ == events_.size()) {
    cudaEvent_t event{};
    JAXMG_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    events_.push_back(event);
  }
  const cudaEvent_t event = events_[used_events_++];
  JAXMG_CHECK(cudaEventRecord(event, stream));
  return event;
}

void Lanes::wait(cudaStream_t stream, cudaEvent_t event) { JAXMG_CHECK(cudaStreamWaitEvent(stream, event, 0)); }

void Lanes::fork_from(cudaStream_t stream) {
  const cudaEvent_t reached = record(stream);
  for (cudaStream_t lane : streams_) {
    if (lane != stream) wait(lane, reached);
  }
}

void Lanes::join_into(cudaStream_t stream) {
  for (cudaStream_t lane : streams_) {
    if (lane != stream) wait(stream, record(lane));
  }
}

bool Lanes::idle() const noexcept {
  return std::all_of(streams_.begin(), streams_.end(),
                     [](cudaStream_t stream) { return cudaStreamQuery(stream) != cudaErrorNotReady; });
}

}  // namespace jaxmg::cuda
