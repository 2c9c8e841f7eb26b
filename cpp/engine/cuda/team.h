// Team: the resources that the ranks of a mesh keep between calls, namely streams, handles and transports.
#pragma once

#include <nccl.h>

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

#include "comm/idle_teams.h"
#include "comm/rendezvous.h"
#include "comm/roll.h"
#include "engine/cuda/lanes.h"
#include "engine/cuda/peer_transport.h"
#include "engine/cuda/transport.h"

namespace jaxmg::cuda {

// State that a vendor's solver keeps for one rank.
struct Resident {
  Resident() = default;
  Resident(const Resident&) = delete;
  Resident& operator=(const Resident&) = delete;
  virtual ~Resident() = default;
  // Call after an error: kernels stop waiting for other ranks.
  virtual void abandon() noexcept = 0;
};

// The resources of one rank.
struct RankResources {
  int device = -1;  // CUDA ordinal
  bool reaches_peers = false;
  std::unique_ptr<PeerFlags> flags;
  std::unique_ptr<Lanes> lanes;
  std::unique_ptr<Transport> transport;
  std::map<std::type_index, std::unique_ptr<Resident>> residents;  // one per type, made on first use
  std::set<std::string> kinds;  // kinds of the calls so far: calls of one kind launch the same kernels

  // Call after an error: enqueued work stops waiting for other ranks. On return all of it has finished.
  void abandon() noexcept;
};

// The ranks of one process on one mesh. A team serves one call at a time; a mesh has as many teams as simultaneous
// calls.
class Team {
 public:
  Team(const Roll& roll, bool one_process, bool peers);

  RankResources& resources(int rank) { return resources_[static_cast<std::size_t>(rank)]; }
  int ranks() const { return static_cast<int>(resources_.size()); }

  // Creates the resources of a rank on the current device; all ranks of the process call it together.
  void create_resources(Participant& participant, std::chrono::milliseconds timeout);

  // Call after an error, which leaves the order of work in flight undefined: the team is not reused.
  void retire() {
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

  // Returns an idle team of the roll's devices, or a new one. With JAXMG_TRANSPORT=nccl in the environment, ranks of
  // one process use NCCL, too: a workaround for broken peer access, and for tests.
  static std::shared_ptr<Team> acquire(const Roll& roll);

 private:
  bool one_process_;
  bool peers_;  // whether ranks of one process write to each other's memory where possible
  std::atomic<bool> retired_ = false;
  ncclUniqueId nccl_id_{};
  std::vector<RankResources> resources_;
  std::mutex mutex_;
  std::map<std::type_index, std::shared_ptr<void>> kept_;
};

}  // namespace jaxmg::cuda
