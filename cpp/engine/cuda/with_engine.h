// One rank's part in a call on GPUs: it meets the others, takes its resources in a team, and fails with them.
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

#include "comm/membership.h"
#include "comm/process_links.h"
#include "comm/rendezvous.h"
#include "comm/watchdog.h"
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
  Participant participant(members.key, members.rank, members.local_ranks, needs.buffers, members.timeout);
  std::optional<ProcessLinks> links;  // where ranks are in several processes
  if (members.spans()) {
    links.emplace(Reception::instance(), participant, members.roll, members.key, members.timeout);
  }
  std::shared_ptr<Team> team;
  RankResources* resources = nullptr;
  const auto use_up_id = [&] {
    if (links && members.rank == 0) OfferedIds::instance().used(device);
  };
  try {
    std::atomic<Transport*> transport = nullptr;
    std::optional<Watchdog> watchdog;
    if (links) {
      links->connect();
      // Where a stream waits for a process that has ended, this thread may be held up by CUDA: in a launch when the
      // stream is full, or in loading a kernel.
      watchdog.emplace(
          [&] {
            participant.check();
            links->check();
          },
          [&](const std::string& why) {
            participant.fail(why);
            if (Transport* const in_use = transport) in_use->abandon();
          });
    }
    team = participant.shared<Team>([&] { return Team::acquire(members.roll); });
    if (!team->resources(members.rank).transport) use_up_id();
    team->create_resources(participant, members.timeout);
    resources = &team->resources(members.rank);
    transport = resources->transport.get();
    std::vector<MemoryRegions> all(static_cast<std::size_t>(members.roll.ranks()));
    for (const int r : members.local_ranks) all[static_cast<std::size_t>(r)] = participant.buffers(r);
    // Kernels are loaded when they are first launched.
    const bool first = resources->kinds.insert(needs.kind).second || needs.data_decides;
    Arena arena(needs.workspace.base, needs.workspace.bytes);
    const CudaScratch scratch(arena, needs.largest_potrf, needs.processes);
    CudaEngine engine(*team, members.rank, stream, scratch, needs.largest_potrf,
                      {participant, members.timeout, std::move(all), scratch.packed, first});
    body(engine, arena.rest());
    participant.barrier();  // all ranks have enqueued all of their work, or all fail
    engine.finish();
    if (links) {
      watchdog->stop();
      participant.check();  // what came to its end may have done so because it was given up
      links->barrier();     // nobody leaves while another one may ask whether it is still there
    }
  } catch (const std::exception& error) {
    // The others must know before this rank waits for what it shares with them. Nothing of it may run any more
    // when its buffers are given up.
    const Error reported =
        links ? report_failure(participant, root_cause(*links, error)) : report_failure(participant, error);
    if (links) links->fail(reported.what());
    use_up_id();
    if (team) team->retire();
    if (resources != nullptr) resources->abandon();
    throw reported;
  }
}

}  // namespace jaxmg::cuda
