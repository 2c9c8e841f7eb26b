// The order of kernels that run on several GPUs at once and wait for each other.
//
// Two calls that use the same GPUs at the same time must not start such kernels in a different order on each: both
// would wait for a kernel that finds no room. Here, the ranks of a call launch such a kernel on all GPUs of this
// process before any other call does, and on each GPU it begins after those launched before.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

namespace jaxmg::cuda {

class LaunchOrder {
 public:
  static LaunchOrder& instance();

  // Whether the ranks of `call`, a number of `members`, may launch now: returns false while another call's ranks do.
  // Each of them calls end() afterwards.
  bool begin(const void* call, int members);
  void end(const void* call);
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

  std::mutex mutex_;
  const void* call_ = nullptr;
  int left_ = 0;
  std::uint64_t turn_ = 0;
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
