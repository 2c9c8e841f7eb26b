// XLA FFI handlers of NVIDIA GPUs. They enqueue and return; the host waits only for the roll of the call.
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "backends/tiled_cholesky.h"
#include "engine/cuda/check.h"
#include "engine/cuda/cuda_engine.h"
#include "engine/cuda/team.h"
#include "engine/scratch.h"
#include "ffi/call.h"

namespace jaxmg {
namespace {

using cuda::CudaEngine;
using cuda::Team;

// XLA makes an operand and the result it is aliased to one buffer; if it ever does not, the result starts as a copy.
void start_from(xffi::AnyBuffer operand, xffi::Result<xffi::AnyBuffer> result, cudaStream_t stream) {
  if (operand.untyped_data() == result->untyped_data()) return;
  JAXMG_CHECK(cudaMemcpyAsync(result->untyped_data(), operand.untyped_data(), operand.size_bytes(),
                              cudaMemcpyDeviceToDevice, stream));
}

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

// What decides which kernels a call launches: the routine, the type and the sizes.
std::string kind_of(const char* routine, xffi::AnyBuffer a, xffi::AnyBuffer b) {
  std::string kind = routine + std::to_string(static_cast<int>(a.element_type()));
  for (const auto buffer : {a, b}) {
    for (const std::int64_t size : buffer.dimensions()) kind += ' ' + std::to_string(size);
  }
  return kind;
}

// Runs body(engine, members, workspace) for one rank, among the ranks of its call.
template <class Body>
void with_engine(const xffi::Dictionary& attributes, std::int32_t device, cudaStream_t stream, xffi::AnyBuffer roll,
                 MemoryRegions buffers, std::int64_t largest_potrf, const std::string& kind, Body&& body) {
  const Membership members(read_roll(roll, stream), static_cast<std::uint32_t>(device), attributes);
  const MemoryRegion workspace = buffers.back();
  Attendance attendance(members.key, members.rank, members.local_ranks, std::move(buffers), members.timeout);
  std::shared_ptr<Team> team;
  cuda::Seat* seat = nullptr;
  try {
    team = attendance.shared<Team>([&] { return Team::acquire(members.roll); });
    team->take_seat(attendance, members.timeout);
    seat = &team->seat(members.rank);
    if (members.rank == 0 && members.processes > 1) OfferedIds::instance().used(static_cast<std::uint32_t>(device));
    std::vector<MemoryRegions> all(static_cast<std::size_t>(members.roll.ranks()));
    for (const int r : members.local_ranks) all[static_cast<std::size_t>(r)] = attendance.buffers(r);
    const bool first = seat->kinds.insert(kind).second;
    Arena arena(workspace.base, workspace.bytes);
    const CudaScratch scratch(arena, largest_potrf, members.processes);
    CudaEngine engine(*team, members.rank, stream, scratch, largest_potrf,
                      {attendance, members.timeout, std::move(all), scratch.packed, first});
    body(engine, members, arena.rest());
    attendance.barrier();  // all ranks have enqueued all of their work, or all fail
    engine.finish();
  } catch (const std::exception& error) {
    // The others must know before this rank waits for what it shares with them. Nothing of it may run any more
    // when its buffers are given up.
    const Error told = tell_others(attendance, error);
    if (team) team->retire();
    if (seat != nullptr && seat->transport) {
      seat->transport->abandon();
      seat->lanes->drain();
    }
    throw told;
  }
}

xffi::Error roll_call(xffi::AnyBuffer, xffi::Result<xffi::AnyBuffer> entry, xffi::Dictionary attributes,
                      std::int32_t device, cudaStream_t stream) {
  return guarded("roll call", [&] {
    RollEntry own;
    own.process = process_nonce();
    own.device = static_cast<std::uint32_t>(device);
    own.call = fresh_call();
    if (attribute(attributes, "processes") > 1) {
      const ncclUniqueId id = OfferedIds::instance().get(own.device);
      std::memcpy(own.nccl_id.data(), &id, sizeof(id));
    }
    // From pageable memory: the copy has left `own` when the call returns.
    JAXMG_CHECK(cudaMemcpyAsync(entry->untyped_data(), &own, sizeof(own), cudaMemcpyHostToDevice, stream));
  });
}

xffi::Error potrs(xffi::AnyBuffer a, xffi::AnyBuffer b, xffi::AnyBuffer roll, xffi::Result<xffi::AnyBuffer> a_out,
                  xffi::Result<xffi::AnyBuffer> x, xffi::Result<xffi::AnyBuffer> info,
                  xffi::Result<xffi::AnyBuffer> workspace, xffi::Dictionary attributes, std::int32_t device,
                  cudaStream_t stream) {
  return guarded("potrs", [&] {
    start_from(a, a_out, stream);
    start_from(b, x, stream);
    const std::int64_t ranks = roll.dimensions()[0];
    const std::int64_t largest_potrf = attribute(attributes, ranks == 1 ? "n" : "pivot");
    dispatch(scalar_type(a.element_type()), [&]<class T>() {
      with_engine(
          attributes, device, stream, roll, {region_of(*a_out), region_of(*x), region_of(*workspace)}, largest_potrf,
          kind_of("potrs", *a_out, *x), [&](CudaEngine& engine, const Membership& members, Arena arena) {
            const auto problem =
                decode_potrs<T>(members, *a_out, *x, static_cast<std::int32_t*>(info->untyped_data()), attributes);
            TiledCholesky<T, CudaEngine>().potrs(engine, problem, arena);
          });
    });
  });
}

xffi::Error redistribute_columns(xffi::AnyBuffer a, xffi::AnyBuffer roll, xffi::Result<xffi::AnyBuffer> a_out,
                                 xffi::Result<xffi::AnyBuffer> workspace, xffi::Dictionary attributes,
                                 std::int32_t device, cudaStream_t stream) {
  return guarded("redistribute", [&] {
    start_from(a, a_out, stream);
    dispatch(scalar_type(a.element_type()), [&]<class T>() {
      with_engine(attributes, device, stream, roll, {region_of(*a_out), region_of(*workspace)}, 0,
                  kind_of("redistribute", *a_out, *a_out),
                  [&](CudaEngine& engine, const Membership& members, Arena arena) {
                    const auto shard = columns_of<T>(*a_out);
                    redistribute(engine, redistribution_layout(members, shard, attributes), shard, arena,
                                 attribute(attributes, "inverse") != 0);
                  });
    });
  });
}

}  // namespace
}  // namespace jaxmg

JAXMG_HANDLER(jaxmg_cuda_roll_call, jaxmg::bind_roll_call().Ctx<xla::ffi::PlatformStream<cudaStream_t>>(),
              jaxmg::roll_call)
JAXMG_HANDLER(jaxmg_cuda_potrs, jaxmg::bind_potrs().Ctx<xla::ffi::PlatformStream<cudaStream_t>>(), jaxmg::potrs)
JAXMG_HANDLER(jaxmg_cuda_redistribute, jaxmg::bind_redistribute().Ctx<xla::ffi::PlatformStream<cudaStream_t>>(),
              jaxmg::redistribute_columns)
