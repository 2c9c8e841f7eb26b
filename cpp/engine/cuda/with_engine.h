// Runs one rank of a call on GPUs: rendezvous, resources of a team, engine, and failure on all ranks together.
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

// Cache of the NCCL ids that devices put on rolls. Creating an id is costly and it is seldom used: a device offers the
// same id until a communicator is created with it.
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

// Runs body(engine, workspace) for one rank of a call.
template <class Body>
void with_cuda_engine(const Membership& members, std::uint32_t device, cudaStream_t stream, const EngineNeeds& needs,
                      Body&& body) {
  Participant participant(members.key, members.rank, members.local_ranks, needs.buffers, members.timeout, device);
  std::optional<ProcessLinks> links;  // only if the call spans several processes
  if (members.spans()) {
    links.emplace(Listener::instance(), participant, members.roll, members.key, members.timeout);
  }
  std::shared_ptr<Team> team;
  RankResources* resources = nullptr;
  ReachedBuffers reached;
  const auto use_up_id = [&] {
    if (links && members.rank == 0) OfferedIds::instance().used(device);
  };
  try {
    std::atomic<Transport*> transport = nullptr;
    std::optional<Watchdog> watchdog;
    if (links) links->connect();
    ProcessLinks* const others = links ? &*links : nullptr;
    team = participant.shared<Team>([&] { return Team::acquire(roll_of(members, participant)); });
    if (!team->resources(members.rank).lanes) use_up_id();
    team->create_resources(participant, others, members.timeout);
    resources = &team->resources(members.rank);
    reached = team->reach_buffers(participant, others);
    if (links) {
      // If a stream waits for a process that has ended, CUDA may block this thread: in a launch when the stream is
      // full, or while loading a kernel.
      watchdog.emplace(
          [&] {
            participant.check();
            links->check();
          },
          [&](const std::string& why) {
            participant.fail(why);
            if (Transport* const in_use = transport) in_use->abandon();
          });
      transport = &team->connect(participant, members.timeout);
    }
    // Kernels are loaded at their first launch.
    const bool first = resources->kinds.insert(needs.kind).second || needs.data_decides;
    Arena arena(needs.workspace.base, needs.workspace.bytes);
    const CudaScratch scratch(arena, needs.largest_potrf, needs.processes);
    CudaEngine engine(*team, members.rank, stream, scratch, needs.largest_potrf,
                      {participant, members.timeout, reached.regions, scratch.packed, first});
    body(engine, arena.rest());
    participant.barrier();  // either all ranks have enqueued all of their work, or all fail
    engine.finish();
    if (links) {
      watchdog->stop();
      participant.check();  // work may have finished only because it was abandoned
      links->barrier();     // no rank leaves while another may still check its link
    }
  } catch (const std::exception& error) {
    // Report the failure before this rank waits for work that it shares with other ranks. None of that work may still
    // run when the buffers are released.
    const Error reported =
        links ? report_failure(participant, root_cause(*links, error)) : report_failure(participant, error);
    if (links) links->fail(reported.what());
    use_up_id();
    if (team) team->retire();
    if (resources != nullptr) resources->abandon();
    if (links) links->leave();
    throw reported;
  }
}

}  // namespace jaxmg::cuda
