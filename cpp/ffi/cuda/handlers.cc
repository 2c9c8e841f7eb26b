// XLA FFI handlers of NVIDIA GPUs. They enqueue and return; the host waits for the roll of the call and, in syevd, for
// the numbers that decide how merges go on. Where ranks are in several processes it waits for the end, too: nothing
// else shows whether one of them has ended.
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "comm/process_links.h"
#include "comm/watch.h"
#include "engine/cuda/check.h"
#include "engine/cuda/cuda_engine.h"
#include "engine/cuda/team.h"
#include "engine/scratch.h"
#include "ffi/c_api.h"
#include "ffi/call.h"
#include "ffi/handlers.h"
#include "routines/cuda/vendors.h"

namespace jaxmg {
namespace {

using cuda::CudaEngine;
using cuda::Team;

Roll read_roll(const Buffer& roll, cudaStream_t stream) {
  std::vector<std::byte> words(static_cast<std::size_t>(roll.bytes));
  JAXMG_CHECK(cudaMemcpyAsync(words.data(), roll.data, words.size(), cudaMemcpyDeviceToHost, stream));
  JAXMG_CHECK(cudaStreamSynchronize(stream));
  return Roll(words.data(), roll.shape[0]);
}

// The NCCL id a device offers to a new communicator. Making one is costly, and it is seldom used: a device
// offers the same id until a communicator was made with it.
class OfferedIds {
 public:
  ncclUniqueId get(std::uint32_t device) {
    std::lock_guard lock(mutex_);
    const auto [found, inserted] = ids_.try_emplace(device);
    if (inserted) JAXMG_CHECK(ncclGetUniqueId(&found->second));
    return found->second;
  }
  void used(std::uint32_t device) {
    std::lock_guard lock(mutex_);
    ids_.erase(device);
  }
  static OfferedIds& instance() {
    static OfferedIds ids;
    return ids;
  }

 private:
  std::mutex mutex_;
  std::map<std::uint32_t, ncclUniqueId> ids_;
};

// Runs body(engine, workspace) for one rank, among the ranks of its call.
template <class Body>
void with_engine(const CallFrame& call, std::int32_t device, cudaStream_t stream, const Needs& needs, Body&& body) {
  const Membership members(read_roll(call.roll, stream), static_cast<std::uint32_t>(device), call.attributes);
  Attendance attendance(members.key, members.rank, members.local_ranks, needs.buffers, members.timeout);
  std::optional<ProcessLinks> links;  // where ranks are in several processes
  if (members.spans()) {
    links.emplace(Reception::instance(), attendance, members.roll, members.key, members.timeout);
  }
  std::shared_ptr<Team> team;
  cuda::Seat* seat = nullptr;
  const auto use_up_id = [&] {
    if (links && members.rank == 0) OfferedIds::instance().used(static_cast<std::uint32_t>(device));
  };
  try {
    std::atomic<cuda::Transport*> transport = nullptr;
    std::optional<Watch> watch;
    if (links) {
      links->connect();
      // Where a stream waits for a process that has ended, this thread may be held up by CUDA: in a launch when the
      // stream is full, or in loading a kernel.
      watch.emplace(
          [&] {
            attendance.check();
            links->check();
          },
          [&](const std::string& why) {
            attendance.fail(why);
            if (cuda::Transport* const in_use = transport) in_use->abandon();
          });
    }
    team = attendance.shared<Team>([&] { return Team::acquire(members.roll); });
    if (!team->seat(members.rank).transport) use_up_id();
    team->take_seat(attendance, members.timeout);
    seat = &team->seat(members.rank);
    transport = seat->transport.get();
    std::vector<MemoryRegions> all(static_cast<std::size_t>(members.roll.ranks()));
    for (const int r : members.local_ranks) all[static_cast<std::size_t>(r)] = attendance.buffers(r);
    // Kernels are loaded when they are first launched, and which are launched follows from the plan.
    const std::string kind(reinterpret_cast<const char*>(call.plan.data()), call.plan.size_bytes());
    const bool first = seat->kinds.insert(kind).second || needs.data_decides;
    Arena arena(call.workspace.data, call.workspace.bytes);
    const CudaScratch scratch(arena, needs.largest_potrf, needs.processes);
    CudaEngine engine(*team, members.rank, stream, scratch, needs.largest_potrf,
                      {attendance, members.timeout, std::move(all), scratch.packed, first});
    body(engine, arena.rest());
    attendance.barrier();  // all ranks have enqueued all of their work, or all fail
    engine.finish();
    if (links) {
      watch->stop();
      attendance.check();  // what came to its end may have done so because it was given up
      links->barrier();    // nobody leaves while another one may ask whether it is still there
    }
  } catch (const std::exception& error) {
    // The others must know before this rank waits for what it shares with them. Nothing of it may run any more
    // when its buffers are given up.
    const Error told = links ? tell_others(attendance, explained(*links, error)) : tell_others(attendance, error);
    if (links) links->fail(told.what());
    use_up_id();
    if (team) team->retire();
    if (seat != nullptr) seat->abandon();
    throw told;
  }
}

xffi::Error roll_call(xffi::AnyBuffer, xffi::Result<xffi::AnyBuffer> entry, xffi::Dictionary attributes,
                      std::int32_t device, cudaStream_t stream) {
  return guarded("roll call", [&] {
    RollEntry own = own_entry(device);
    if (attribute(attributes, "processes") > 1) {
      Reception::instance();
      const ncclUniqueId id = OfferedIds::instance().get(own.device);
      std::memcpy(own.nccl_id.data(), &id, sizeof(id));
    }
    // From pageable memory: the copy has left `own` when the call returns.
    JAXMG_CHECK(cudaMemcpyAsync(entry->untyped_data(), &own, sizeof(own), cudaMemcpyHostToDevice, stream));
  });
}

struct Gpu {
  using Engine = CudaEngine;
  static constexpr auto name = "GPUs";
  std::int32_t device;
  cudaStream_t stream;

  static auto bind(auto&& binding) { return std::move(binding).template Ctx<xffi::PlatformStream<cudaStream_t>>(); }
  void copy(const Buffer& to, const Buffer& from) const {
    JAXMG_CHECK(
        cudaMemcpyAsync(to.data, from.data, static_cast<std::size_t>(from.bytes), cudaMemcpyDeviceToDevice, stream));
  }
  template <class Body>
  void run(const CallFrame& call, const Needs& needs, Body&& body) const {
    with_engine(call, device, stream, needs, body);
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
