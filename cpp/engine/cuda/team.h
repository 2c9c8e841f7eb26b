// What the ranks of a mesh keep between calls: streams and handles, and the means to reach each other.
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
  // After an error: kernels no longer wait for other ranks.
  virtual void abandon() noexcept = 0;
};

// One rank's place in a team.
struct RankResources {
  int device = -1;  // CUDA ordinal
  bool reaches_peers = false;
  std::unique_ptr<PeerFlags> flags;
  std::unique_ptr<Lanes> lanes;
  std::unique_ptr<Transport> transport;
  std::map<std::type_index, std::unique_ptr<Resident>> residents;  // one of a type, made on first use
  std::set<std::string> kinds;  // of calls made so far: what decides which kernels they launch

  // After an error: nothing that was enqueued waits for other ranks, nor runs any more.
  void abandon() noexcept;
};

// The ranks of one process on one mesh. A team serves one call at a time; a mesh has as many teams as it has
// calls at once.
class Team {
 public:
  Team(const Roll& roll, bool one_process, bool peers);

  RankResources& resources(int rank) { return resources_[static_cast<std::size_t>(rank)]; }
  int ranks() const { return static_cast<int>(resources_.size()); }

  // Makes the resources of a rank on the current device; all ranks of the process call it together.
  void create_resources(Participant& participant, std::chrono::milliseconds timeout);

  // After an error nothing is known about the order of what is in flight: the team is not used again.
  void retire() {
    if (!retired_.exchange(true) && !one_process_) count_retired_team();
  }
  bool retired() const { return retired_; }

  // What is kept for the ranks of the process from call to call, made by the one that asks first.
  template <class State>
  std::shared_ptr<State> keep() {
    std::lock_guard lock(mutex_);
    std::shared_ptr<void>& kept = kept_[typeid(State)];
    if (!kept) kept = std::make_shared<State>();
    return std::static_pointer_cast<State>(kept);
  }

  // An idle team of the roll's devices, or a new one.
  // With JAXMG_TRANSPORT=nccl in the environment the ranks of one process do not use each other's memory either:
  // a way round peer access that is broken, and for tests.
  static std::shared_ptr<Team> acquire(const Roll& roll);

 private:
  bool one_process_;
  bool peers_;  // of one process, to write to each other's memory where they can
  std::atomic<bool> retired_ = false;
  ncclUniqueId nccl_id_{};
  std::vector<RankResources> resources_;
  std::mutex mutex_;
  std::map<std::type_index, std::shared_ptr<void>> kept_;
};

}  // namespace jaxmg::cuda
