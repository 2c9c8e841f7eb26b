// Workspace queries to cuSOLVERMg while planning, before a call runs.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <numeric>
#include <vector>

#include "engine/cuda/check.h"
#include "vendor/cusolvermg/cuda/session.h"

namespace jaxmg::cuda {

// Placeholder addresses on each device for workspace queries: the library requires them, and does not dereference them.
class Addresses {
 public:
  Addresses() { JAXMG_CHECK(cudaGetDevice(&current_)); }
  void take(int devices) {
    for (int d = 0; d < devices; ++d) {
      JAXMG_CHECK(cudaSetDevice(d));
      parts_.push_back(nullptr);
      JAXMG_CHECK(cudaMalloc(&parts_.back(), 256));
    }
  }
  ~Addresses() {
    for (void* const part : parts_) cudaFree(part);
    cudaSetDevice(current_);
  }
  Addresses(const Addresses&) = delete;
  Addresses& operator=(const Addresses&) = delete;

  const std::vector<void*>& parts() const { return parts_; }

 private:
  int current_ = 0;
  std::vector<void*> parts_;
};

// Sessions for workspace queries, by number of devices. The first devices of the process represent any others: the
// workspace depends only on their number.
class Sessions {
 public:
  // Returns ask(session, addresses), a number of bytes.
  template <class Ask>
  std::int64_t ask(int devices, Ask&& ask) {
    std::lock_guard lock(mutex_);
    CusolverMgSession& session = sessions_[devices];
    std::vector<int> all(static_cast<std::size_t>(devices));
    std::iota(all.begin(), all.end(), 0);
    session.open(all);
    Addresses memory;
    memory.take(devices);
    return ask(session, memory.parts());
  }
  static Sessions& instance() {
    static auto* const sessions = new Sessions;  // never destroyed: CUDA may be unloaded before statics
    return *sessions;
  }

 private:
  std::mutex mutex_;
  std::map<int, CusolverMgSession> sessions_;
};

}  // namespace jaxmg::cuda
