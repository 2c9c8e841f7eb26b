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
#include <utility>
#include <vector>

#include "backends/cuda_backends.h"
#include "comm/process_links.h"
#include "comm/watch.h"
#include "engine/cuda/check.h"
#include "engine/cuda/cuda_engine.h"
#include "engine/cuda/team.h"
#include "engine/scratch.h"
#include "ffi/call.h"
#include "ffi/routines.h"

namespace jaxmg {
namespace {

using cuda::CudaEngine;
using cuda::Team;

Roll read_roll(xffi::AnyBuffer roll, cudaStream_t stream) {
  std::vector<std::byte> words(roll.size_bytes());
  JAXMG_CHECK(cudaMemcpyAsync(words.data(), roll.untyped_data(), words.size(), cudaMemcpyDeviceToHost, stream));
  JAXMG_CHECK(cudaStreamSynchronize(stream));
  return Roll(words.data(), roll.dimensions()[0]);
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

// Runs body(engine, members, workspace) for one rank, among the ranks of its call.
template <class Body>
void with_engine(const CallFrame& call, std::int32_t device, cudaStream_t stream, MemoryRegions buffers,
                 std::int64_t largest_potrf, const std::string& kind, bool data_decides, Body&& body) {
  const Membership members(read_roll(call.roll(), stream), static_cast<std::uint32_t>(device), call.attributes());
  Attendance attendance(members.key, members.rank, members.local_ranks, std::move(buffers), members.timeout);
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
    const bool first = seat->kinds.insert(kind).second || data_decides;
    const MemoryRegion workspace = call.workspace();
    Arena arena(workspace.base, workspace.bytes);
    const CudaScratch scratch(arena, largest_potrf, members.processes);
    CudaEngine engine(*team, members.rank, stream, scratch, largest_potrf,
                      {attendance, members.timeout, std::move(all), scratch.packed, first});
    body(engine, members, arena.rest());
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

xffi::Error roll_call(xffi::RemainingArgs, xffi::Result<xffi::AnyBuffer> entry, xffi::Dictionary attributes,
                      std::int32_t device, cudaStream_t stream) {
  return guarded("roll call", [&] {
    std::vector<RollEntry> own = own_entries(*entry, device);
    if (attribute(attributes, "processes") > 1) {
      Reception::instance();
      const ncclUniqueId id = OfferedIds::instance().get(static_cast<std::uint32_t>(device));
      for (RollEntry& each : own) std::memcpy(each.nccl_id.data(), &id, sizeof(id));
    }
    if (own.empty()) return;
    // From pageable memory: the copy has left `own` when the call returns.
    JAXMG_CHECK(cudaMemcpyAsync(entry->untyped_data(), own.data(), own.size() * sizeof(RollEntry),
                                cudaMemcpyHostToDevice, stream));
  });
}

template <class Routine>
xffi::Error run(const char* name, xffi::RemainingArgs operands, xffi::RemainingRets results,
                xffi::Dictionary attributes, std::int32_t device, cudaStream_t stream) {
  return guarded(name, [&] {
    const CallFrame call(operands, results, attributes);
    for (std::size_t i = 0; i < Routine::in_place; ++i) {
      // XLA makes an operand and the result it is aliased to one buffer; if it ever does not, the result starts as a
      // copy.
      const xffi::AnyBuffer from = call.operand(i), to = call.result(i);
      if (from.untyped_data() != to.untyped_data()) {
        JAXMG_CHECK(cudaMemcpyAsync(to.untyped_data(), from.untyped_data(), from.size_bytes(), cudaMemcpyDeviceToDevice,
                                    stream));
      }
    }
    const std::int64_t ranks = call.roll().dimensions()[0];
    const bool factors = Routine::factors && call.backend() == BackendName::tiled;
    const std::int64_t largest_potrf = factors ? call.attribute(ranks == 1 ? "n" : "pivot") : 0;
    dispatch(scalar_type(call.result(0).element_type()), [&]<class T>() {
      with_engine(call, device, stream, call.regions(Routine::in_place), largest_potrf, call.kind(name),
                  Routine::data_decides, [&](CudaEngine& engine, const Membership& members, Arena workspace) {
                    Routine::template run<T>(engine, call, members, workspace);
                  });
    });
  });
}

}  // namespace
}  // namespace jaxmg

JAXMG_HANDLER(jaxmg_cuda_roll_call, jaxmg::bind_roll_call().Ctx<xla::ffi::PlatformStream<cudaStream_t>>(),
              jaxmg::roll_call)

#define JAXMG_CUDA_HANDLER(name, routine)                                                               \
  JAXMG_HANDLER(jaxmg_cuda_##name, jaxmg::bind_routine().Ctx<xla::ffi::PlatformStream<cudaStream_t>>(), \
                [](auto... arguments) { return jaxmg::run<jaxmg::routines::routine>(#name, arguments...); })
JAXMG_ROUTINES(JAXMG_CUDA_HANDLER)
