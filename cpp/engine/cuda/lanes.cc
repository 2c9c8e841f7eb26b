#include "engine/cuda/lanes.h"

#include <algorithm>

#include "engine/cuda/check.h"

namespace jaxmg::cuda {

Lanes::Lanes() {
  int device = 0;
  JAXMG_CHECK(cudaGetDevice(&device));
  JAXMG_CHECK(cudaDeviceGetAttribute(&multiprocessors_, cudaDevAttrMultiProcessorCount, device));
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

cudaStream_t Lanes::stream(Lane lane) {
  State& state = states_[index(lane)];
  if (state.behind) wait(streams_[index(lane)], fork_);
  state.behind = false;
  state.used = true;
  return streams_[index(lane)];
}

cublasHandle_t Lanes::blas(Lane lane, bool in_lent) {
  stream(lane);
  State& state = states_[index(lane)];
  const bool lent = in_lent && state.lent_workspace != nullptr;
  std::byte* const workspace = lent ? state.lent_workspace : state.own_workspace;
  if (workspace != state.workspace) {
    JAXMG_CHECK(cublasSetWorkspace(blas_[index(lane)], workspace, lent ? state.lent_bytes : workspace_bytes_));
    state.workspace = workspace;
  }
  return blas_[index(lane)];
}

void Lanes::lend(Lane lane, std::byte* workspace, std::int64_t bytes) {
  State& state = states_[index(lane)];
  state.lent_workspace = workspace;
  state.lent_bytes = static_cast<std::size_t>(bytes);
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

void Lanes::begin(cudaStream_t stream, const std::array<std::byte*, lane_count>& workspaces,
                  std::size_t workspace_bytes) {
  used_events_ = 0;
  workspace_bytes_ = workspace_bytes;
  for (std::size_t i = 0; i < states_.size(); ++i) {
    states_[i].own_workspace = workspaces[i];
    states_[i].lent_workspace = states_[i].workspace = nullptr;
  }
  fork_from(stream);
}

void Lanes::end(cudaStream_t stream) { join_into(stream); }

void Lanes::join() {
  if (std::none_of(states_.begin(), states_.end(), [](const State& state) { return state.used; })) return;
  const cudaStream_t panel = stream(Lane::panel);
  join_into(panel);
  fork_from(panel);
  states_[index(Lane::panel)].behind = false;
  states_[index(Lane::panel)].used = true;
}

void Lanes::fork_from(cudaStream_t stream) {
  fork_ = record(stream);
  for (State& state : states_) {
    state.behind = true;
    state.used = false;
  }
}

void Lanes::join_into(cudaStream_t stream) {
  for (std::size_t i = 0; i < states_.size(); ++i) {
    if (states_[i].used && streams_[i] != stream) wait(stream, record(streams_[i]));
  }
}

bool Lanes::idle() const noexcept {
  return std::all_of(streams_.begin(), streams_.end(),
                     [](cudaStream_t stream) { return cudaStreamQuery(stream) != cudaErrorNotReady; });
}

}  // namespace jaxmg::cuda
