// Team: the resources that the ranks of a mesh keep between calls, namely streams, handles and transports.
#pragma once

#include <nccl.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <typeindex>
#include <typeinfo>
#include <vector>

#include "comm/block.h"
#include "comm/idle_teams.h"
#include "comm/process_links.h"
#include "comm/rendezvous.h"
#include "comm/roll.h"
#include "engine/cuda/ipc.h"
#include "engine/cuda/lanes.h"
#include "engine/cuda/launch_order.h"
#include "engine/cuda/nccl_transport.h"
#include "engine/cuda/peer_transport.h"
#include "engine/cuda/transport.h"

namespace jaxmg::cuda {

// State that a vendor's solver keeps for one rank.
struct Resident {
  Resident() = default;
  Resident(const Resident&) = delete;
  Resident& operator=(const Resident&) = delete;
  virtual ~Resident() = default;
  // Call after an error: kernels stop waiting for other ranks. It may be called again.
  virtual void abandon() noexcept = 0;
};

// PCI address of a GPU, of fixed size, to be sent to other processes.
struct DeviceAddress {
  std::array<char, 32> text{};

  bool operator==(const DeviceAddress&) const = default;
};

// Whether a rank can map the buffers of other ranks.
struct Mapping {
  Refusal refusal;
  bool needs_files = false;  // of ranks that offer virtual memory
};

// The resources of one rank.
struct RankResources {
  int device = -1;     // CUDA ordinal
  int neighbours = 1;  // ranks of this team on its device, or on any device if there are several processes
  bool reaches_peers = false;
  std::unique_ptr<DeviceFlags> flags;  // if all ranks are in one process
  std::unique_ptr<Lanes> lanes;
  std::unique_ptr<PeerTransport> peers;
  std::unique_ptr<NcclTransport> nccl;
  Transport* transport = nullptr;                                  // of the current call
  std::map<std::type_index, std::unique_ptr<Resident>> residents;  // one per type, made on first use
  std::set<std::string> kinds;  // kinds of the calls so far: calls of one kind launch the same kernels

  // With several processes: records of this rank that the other ranks of its process read, each after a barrier.
  DeviceAddress address;  // of its GPU
  Refusal setup;          // why the team cannot use CUDA IPC
  IpcOffer offer;         // of the current call
  OfferedFiles files;
  Mapping mapping;
  Refusal completion;  // why it cannot map the buffers whose files it has received

  // Call after an error: enqueued work stops waiting for other ranks. On return all of it has finished.
  void abandon() noexcept;
};

// The buffers of all ranks of a call, as one rank addresses them: empty for ranks whose buffers it cannot access.
// Memory of other processes is mapped while this exists.
struct ReachedBuffers {
  std::vector<MemoryRegions> regions;
  std::vector<std::shared_ptr<std::byte>> mappings;
};

// How the GPUs of several processes exchanged blocks in the last call of this process; empty before it.
std::string last_exchange_between_processes();

// The ranks of one process on one mesh. A team serves one call at a time; a mesh has as many teams as simultaneous
// calls.
class Team {
 public:
  Team(const Roll& roll, bool one_process, bool peers);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  RankResources& resources(int rank) { return resources_[static_cast<std::size_t>(rank)]; }
  int ranks() const { return static_cast<int>(resources_.size()); }

  // Creates the resources of a rank on the current device, and the transport if all ranks are in one process. All ranks
  // call it together; `links` may be null for a team of one process.
  void create_resources(Participant& participant, ProcessLinks* links, std::chrono::milliseconds timeout);
  // The same for a team of one process.
  void create_resources(Participant& participant, std::chrono::milliseconds timeout) {
    create_resources(participant, nullptr, timeout);
  }

  // Finds the buffers of all ranks that this rank can access. With several processes, all ranks agree on the transport
  // of this call: peer writes if each of them can access all buffers, NCCL otherwise.
  ReachedBuffers reach_buffers(Participant& participant, ProcessLinks* links);
  // Selects the transport on which reach_buffers() has decided; creates a communicator of NCCL on its first use.
  Transport& connect(Participant& participant, std::chrono::milliseconds timeout);

  // Call after an error, which leaves the order of work in flight undefined: the team is not reused.
  void retire() {
    LaunchOrder::instance().drop(this);
    if (!retired_.exchange(true) && !one_process_) count_retired_team();
  }
  bool retired() const { return retired_; }

  // State shared by the ranks of the process and kept between calls; made on first use.
  template <class State>
  std::shared_ptr<State> keep() {
    std::lock_guard lock(mutex_);
    std::shared_ptr<void>& kept = kept_[typeid(State)];
    if (!kept) kept = std::make_shared<State>();
    return std::static_pointer_cast<State>(kept);
  }

  // Returns an idle team of the roll's devices, or a new one. With JAXMG_TRANSPORT=nccl in the environment, all ranks
  // use NCCL, in one process, too: a workaround for broken peer access, and for tests.
  static std::shared_ptr<Team> acquire(const Roll& roll);

 private:
  void create_transport(Participant& participant, std::chrono::milliseconds timeout);
  void share_board(Participant& participant, ProcessLinks& links);
  std::string map_offers(Participant& participant, ProcessLinks& links, const std::vector<IpcOffer>& offers,
                         ReachedBuffers& reached);

  Roll roll_;  // of the first call: processes and devices are the same in all calls
  bool one_process_;
  bool peers_;  // whether ranks of one process write to each other's memory where possible
  std::atomic<bool> retired_ = false;
  ncclUniqueId nccl_id_{};
  std::unique_ptr<RegisteredMemory> board_;  // flags of ranks in several processes; made by the first rank of this one
  std::vector<RankResources> resources_;
  std::mutex mutex_;
  std::map<std::type_index, std::shared_ptr<void>> kept_;
};

}  // namespace jaxmg::cuda
