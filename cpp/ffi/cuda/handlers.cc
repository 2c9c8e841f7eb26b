// XLA FFI handlers of NVIDIA GPUs. They enqueue work and return. The host waits only for the roll or the rank of the
// call and, in syevd, for the numbers that control the merges. With several processes it also waits for the end of the
// call, to detect processes that have ended.
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstddef>
#include <cstring>
#include <utility>
#include <vector>

#include "algorithms/cuda/instances.h"
#include "engine/cuda/check.h"
#include "engine/cuda/with_engine.h"
#include "ffi/c_api.h"
#include "ffi/call.h"
#include "ffi/handlers.h"
#include "routines/cuda/vendors.h"

namespace jaxmg {
namespace {

using cuda::CudaEngine;

struct Gpu {
  using Engine = CudaEngine;
  static constexpr auto name = "GPUs";
  const CallFrame& call;
  std::int32_t device;
  cudaStream_t stream;
  xffi::RunId execution;

  static auto bind(auto&& binding) {
    return std::forward<decltype(binding)>(binding)
        .template Ctx<xffi::PlatformStream<cudaStream_t>>()
        .template Ctx<xffi::RunId>();
  }
  static void meet(std::vector<RollEntry>& entries, std::int32_t device) {
    const ncclUniqueId id = cuda::OfferedIds::instance().get(static_cast<std::uint32_t>(device));
    for (RollEntry& each : entries) std::memcpy(each.nccl_id.data(), &id, sizeof(id));
  }
  static void write(void* to, const std::vector<RollEntry>& entries, cudaStream_t stream, xffi::RunId) {
    // Pageable memory: the source may be reused when the call returns.
    JAXMG_CHECK(
        cudaMemcpyAsync(to, entries.data(), entries.size() * sizeof(RollEntry), cudaMemcpyHostToDevice, stream));
  }
  static xffi::Error start(bool, auto&& body) { return body(); }
  static void prepare(const MemoryRegion&) {}
  void copy(const Buffer& to, const Buffer& from) const {
    JAXMG_CHECK(
        cudaMemcpyAsync(to.data, from.data, static_cast<std::size_t>(from.bytes), cudaMemcpyDeviceToDevice, stream));
  }
  template <class Body>
  void run(const EngineNeeds& needs, Body&& body) const {
    std::vector<std::byte> roll(static_cast<std::size_t>(call.roll.bytes));
    if (!roll.empty()) {
      JAXMG_CHECK(cudaMemcpyAsync(roll.data(), call.roll.data, roll.size(), cudaMemcpyDeviceToHost, stream));
      JAXMG_CHECK(cudaStreamSynchronize(stream));
    }
    const Membership members = call.members(roll.data(), device, execution.run_id);
    cuda::with_cuda_engine(members, static_cast<std::uint32_t>(device), stream, needs, body);
  }
};

}  // namespace
}  // namespace jaxmg

JAXMG_EXPORT jaxmg::Handler jaxmg_handler(const char* name) { return jaxmg::find_handler<jaxmg::Gpu>(name); }
