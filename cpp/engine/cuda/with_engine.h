// One rank's part in a call on GPUs: it meets the others, takes its seat in a team, and fails with them.
#pragma once

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <atomic>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comm/gathering.h"
#include "comm/membership.h"
#include "comm/process_links.h"
#include "comm/watch.h"
#include "core/arena.h"
#include "engine/cuda/check.h"
#include "engine/cuda/cuda_engine.h"
#include "engine/cuda/team.h"
#include "engine/cuda/transport.h"
#include "engine/needs.h"
#include "engine/scratch.h"

namespace jaxmg::cuda {

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
void with_cuda_engine(const Membership& members, std::uint32_t device, cudaStream_t stream, const EngineNeeds& needs,
                      Body&& body) {
  Attendance attendance(members.key, members.rank, members.local_ranks, needs.buffers, members.timeout);
  std::optional<ProcessLinks> links;  // where ranks are in several processes
  if (members.spans()) {
    links.emplace(Reception::instance(), attendance, members.roll, members.key, members.timeout);
  }
  std::shared_ptr<Team> team;
  Seat* seat = nullptr;
  const auto use_up_id = [&] {
    if (links && members.rank == 0) OfferedIds::instance().used(device);
  };
  try {
    std::atomic<Transport*> transport = nullptr;
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
            if (Transport* const in_use = transport) in_use->abandon();
          });
    }
    team = attendance.shared<Team>([&] { return Team::acquire(members.roll); });
    if (!team->seat(members.rank).transport) use_up_id();
    team->take_seat(attendance, members.timeout);
    seat = &team->seat(members.rank);
    transport = seat->transport.get();
    std::vector<MemoryRegions> all(static_cast<std::size_t>(members.roll.ranks()));
    for (const int r : members.local_ranks) all[static_cast<std::size_t>(r)] = attendance.buffers(r);
    // Kernels are loaded when they are first launched.
    const bool first = seat->kinds.insert(needs.kind).second || needs.data_decides;
    Arena arena(needs.workspace.base, needs.workspace.bytes);
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

}  // namespace jaxmg::cuda
