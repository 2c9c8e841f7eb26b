// The order of kernels that run on several GPUs at once and wait for each other.
//
// Two calls that use the same GPUs at the same time must not start such kernels in a different order on each: both
// would wait for a kernel that finds no room. Here, the ranks of a call launch such a kernel on all GPUs of this
// process before any other call does, and on each GPU it begins after those launched before.
//
// A call of CUDA that waits for such a kernel, as loading another one may, can also keep other threads from launching
// theirs: each rank therefore waits until all ranks of its call in this process have launched.
#pragma once

#include <cuda_runtime_api.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

namespace jaxmg::cuda {

class LaunchOrder {
 public:
  static LaunchOrder& instance();

  // Begins a turn of the ranks of `call`, a number of `members`, or joins it: returns its number, or 0 while another
  // call's ranks have theirs. Each of them calls end() afterwards.
  std::uint64_t begin(const void* call, int members);
  void end(const void* call);
  // Whether all ranks of a turn have called end(), or their call was dropped.
  bool has_ended(std::uint64_t turn) const { return ended_.load(std::memory_order_acquire) >= turn; }
  // After an error: other calls need not wait for this call's launches any more.
  void drop(const void* call);

  // Makes `stream` wait for such kernels of earlier calls on the current device; and records a kernel, once it is
  // launched, for later calls.
  void wait_for_earlier(int device, cudaStream_t stream);
  void launched(int device, cudaStream_t stream);

 private:
  // Kernels on one device: of the last call, and of the call before it.
  struct Device {
    std::uint64_t turn = 0;
    std::vector<cudaEvent_t> earlier, now, unused;
  };
  Device& of_this_turn(int device);
  void end_turn();

  std::mutex mutex_;
  const void* call_ = nullptr;
  int left_ = 0;
  std::uint64_t turn_ = 0;
  std::atomic<std::uint64_t> ended_ = 0;  // the last turn that has ended
  std::map<int, Device> devices_;
};

// A rank's part of a turn.
class LaunchTurn {
 public:
  explicit LaunchTurn(const void* call) : call_(call) {}
  ~LaunchTurn() { LaunchOrder::instance().end(call_); }
  LaunchTurn(const LaunchTurn&) = delete;
  LaunchTurn& operator=(const LaunchTurn&) = delete;

 private:
  const void* call_;
};

}  // namespace jaxmg::cuda
