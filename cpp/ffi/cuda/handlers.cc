// XLA FFI handlers of NVIDIA GPUs. They enqueue and return; the host waits for the roll of the call and, in syevd, for
// the numbers that decide how merges go on. Where ranks are in several processes it waits for the end, too: nothing
// else shows whether one of them has ended.
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstddef>
#include <cstring>
#include <utility>
#include <vector>

#include "algorithms/cuda/instances.h"
#include "comm/process_links.h"
#include "engine/cuda/check.h"
#include "engine/cuda/with_engine.h"
#include "ffi/c_api.h"
#include "ffi/call.h"
#include "ffi/handlers.h"
#include "routines/cuda/vendors.h"

namespace jaxmg {
namespace {

using cuda::CudaEngine;

xffi::Error roll_call(xffi::RemainingArgs, xffi::Result<xffi::AnyBuffer> entry, xffi::Dictionary attributes,
                      std::int32_t device, cudaStream_t stream) {
  return guarded("roll call", [&] {
    std::vector<RollEntry> own = own_entries(*entry, device);
    if (attribute(attributes, "processes") > 1) {
      Reception::instance();
      const ncclUniqueId id = cuda::OfferedIds::instance().get(static_cast<std::uint32_t>(device));
      for (RollEntry& each : own) std::memcpy(each.nccl_id.data(), &id, sizeof(id));
    }
    if (own.empty()) return;
    // From pageable memory: the copy has left `own` when the call returns.
    JAXMG_CHECK(cudaMemcpyAsync(entry->untyped_data(), own.data(), own.size() * sizeof(RollEntry),
                                cudaMemcpyHostToDevice, stream));
  });
}

struct Gpu {
  using Engine = CudaEngine;
  static constexpr auto name = "GPUs";
  const CallFrame& call;
  std::int32_t device;
  cudaStream_t stream;

  static auto bind(auto&& binding) {
    return std::forward<decltype(binding)>(binding).template Ctx<xffi::PlatformStream<cudaStream_t>>();
  }
  void copy(const Buffer& to, const Buffer& from) const {
    JAXMG_CHECK(
        cudaMemcpyAsync(to.data, from.data, static_cast<std::size_t>(from.bytes), cudaMemcpyDeviceToDevice, stream));
  }
  template <class Body>
  void run(const EngineNeeds& needs, Body&& body) const {
    std::vector<std::byte> roll(static_cast<std::size_t>(call.roll.bytes));
    JAXMG_CHECK(cudaMemcpyAsync(roll.data(), call.roll.data, roll.size(), cudaMemcpyDeviceToHost, stream));
    JAXMG_CHECK(cudaStreamSynchronize(stream));
    const Membership members = call.members(roll.data(), device);
    cuda::with_cuda_engine(members, static_cast<std::uint32_t>(device), stream, needs, body);
  }
  static Handler roll_call() {
    return [](XLA_FFI_CallFrame* frame) {
      static auto* const bound = bind(bind_roll_call()).To(jaxmg::roll_call).release();
      return bound->Call(frame);
    };
  }
};

}  // namespace
}  // namespace jaxmg

// The handler of a routine, of those in jaxmg_routines() and "roll_call"; or null.
JAXMG_EXPORT jaxmg::Handler jaxmg_handler(const char* name) { return jaxmg::find_handler<jaxmg::Gpu>(name); }
