#include "engine/cuda/team.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "engine/cuda/check.h"
#include "engine/cuda/nccl_transport.h"

namespace jaxmg::cuda {
namespace {

bool nccl_is_requested() {
  const char* const transport = std::getenv("JAXMG_TRANSPORT");
  const std::string requested = transport == nullptr ? "" : transport;
  if (requested == "nccl") return true;
  if (requested.empty() || requested == "auto") return false;
  throw Error(ErrorCode::invalid_argument, "JAXMG_TRANSPORT must be 'auto' or 'nccl', got '" + requested + "'");
}

// Enables access to the memory of the other devices; returns false if a device does not allow it.
bool reach(int device, const std::vector<int>& devices) {
  for (const int other : devices) {
    if (other == device) continue;
    int possible = 0;
    JAXMG_CHECK(cudaDeviceCanAccessPeer(&possible, device, other));
    if (possible == 0) return false;
    const cudaError_t enabled = cudaDeviceEnablePeerAccess(other, 0);
    if (enabled == cudaErrorPeerAccessAlreadyEnabled) {
      cudaGetLastError();  // XLA has enabled it
    } else {
      JAXMG_CHECK(enabled);
    }
  }
  return true;
}

}  // namespace

void RankResources::abandon() noexcept {
  if (transport) transport->abandon();
  for (const auto& entry : residents) entry.second->abandon();
  if (lanes) lanes->drain();
}

Team::Team(const Roll& roll, bool one_process, bool peers)
    : one_process_(one_process), peers_(peers), resources_(static_cast<std::size_t>(roll.ranks())) {
  if (!one_process_) {
    static_assert(sizeof(nccl_id_) == sizeof(RollEntry::nccl_id));
    std::memcpy(&nccl_id_, roll.entry(0).nccl_id.data(), sizeof(nccl_id_));
  }
}

void Team::create_resources(Participant& participant, std::chrono::milliseconds timeout) {
  const int rank = participant.rank();
  RankResources& own = resources(rank);
  if (own.transport) return;  // all ranks create their resources in the same call
  JAXMG_CHECK(cudaGetDevice(&own.device));
  own.lanes = std::make_unique<Lanes>();
  own.flags = std::make_unique<PeerFlags>(ranks());
  participant.barrier();
  bool peers = peers_;
  if (peers_) {
    std::vector<int> devices;
    for (const RankResources& s : resources_) devices.push_back(s.device);
    own.reaches_peers = reach(own.device, devices);
    participant.barrier();
    peers = std::all_of(resources_.begin(), resources_.end(), [](const RankResources& s) { return s.reaches_peers; });
  }
  if (peers) {
    std::vector<PeerFlags*> flags;
    for (const RankResources& s : resources_) flags.push_back(s.flags.get());
    own.transport = std::make_unique<PeerTransport>(rank, std::move(flags));
  } else {
    if (one_process_ && rank == 0) JAXMG_CHECK(ncclGetUniqueId(&nccl_id_));
    participant.barrier();
    own.transport = std::make_unique<NcclTransport>(participant, ranks(), nccl_id_, timeout);
  }
  participant.barrier();
}

std::shared_ptr<Team> Team::acquire(const Roll& roll) {
  static auto* const idle = new IdleTeams<Team>;  // never destroyed: CUDA may be unloaded before statics
  const bool one_process = roll.ranks_of(roll.entry(0).process).size() == static_cast<std::size_t>(roll.ranks());
  const bool peers = one_process && !nccl_is_requested();
  return idle->acquire(roll, peers ? 1 : 0, [&] { return std::make_unique<Team>(roll, one_process, peers); });
}

}  // namespace jaxmg::cuda
