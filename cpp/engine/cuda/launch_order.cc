#include "engine/cuda/launch_order.h"

#include "engine/cuda/check.h"

namespace jaxmg::cuda {

LaunchOrder& LaunchOrder::instance() {
  static auto* const order = new LaunchOrder;  // never destroyed: CUDA may be unloaded before statics
  return *order;
}

std::uint64_t LaunchOrder::begin(const void* call, int members) {
  std::lock_guard lock(mutex_);
  if (call_ == nullptr) {
    call_ = call;
    left_ = members;
    ++turn_;
  }
  return call_ == call ? turn_ : 0;
}

void LaunchOrder::end(const void* call) {
  std::lock_guard lock(mutex_);
  if (call_ == call && --left_ == 0) end_turn();
}

void LaunchOrder::drop(const void* call) {
  std::lock_guard lock(mutex_);
  if (call_ == call) end_turn();
}

void LaunchOrder::end_turn() {
  call_ = nullptr;
  ended_.store(turn_, std::memory_order_release);
}

// Ranks of one call that share a device do not wait for each other's kernels.
LaunchOrder::Device& LaunchOrder::of_this_turn(int device) {
  Device& found = devices_[device];
  if (found.turn != turn_) {
    found.turn = turn_;
    if (!found.now.empty()) {
      found.unused.insert(found.unused.end(), found.earlier.begin(), found.earlier.end());
      found.earlier.swap(found.now);
      found.now.clear();
    }
  }
  return found;
}

void LaunchOrder::wait_for_earlier(int device, cudaStream_t stream) {
  std::lock_guard lock(mutex_);
  for (const cudaEvent_t event : of_this_turn(device).earlier) JAXMG_CHECK(cudaStreamWaitEvent(stream, event, 0));
}

void LaunchOrder::launched(int device, cudaStream_t stream) {
  std::lock_guard lock(mutex_);
  Device& on_device = of_this_turn(device);
  cudaEvent_t event{};
  if (on_device.unused.empty()) {
    JAXMG_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  } else {
    event = on_device.unused.back();
    on_device.unused.pop_back();
  }
  on_device.now.push_back(event);
  JAXMG_CHECK(cudaEventRecord(event, stream));
}

}  // namespace jaxmg::cuda
