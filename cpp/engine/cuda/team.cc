#include "engine/cuda/team.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "engine/cuda/check.h"
#include "engine/cuda/nccl_transport.h"

namespace jaxmg::cuda {
namespace {

using Devices = std::vector<std::pair<std::uint64_t, std::uint32_t>>;  // process and device of each rank

struct Registry {
  std::mutex mutex;
  std::map<std::pair<Devices, bool>, std::vector<std::unique_ptr<Team>>> idle;  // by whether peers are wanted
};

Registry& registry() {
  static auto* const instance = new Registry;  // never destroyed: CUDA may be gone before statics are
  return *instance;
}

bool nccl_is_asked_for() {
  const char* const transport = std::getenv("JAXMG_TRANSPORT");
  const std::string asked = transport == nullptr ? "" : transport;
  if (asked == "nccl") return true;
  if (asked.empty() || asked == "auto") return false;
  throw Error(ErrorCode::invalid_argument, "JAXMG_TRANSPORT must be 'auto' or 'nccl', not '" + asked + "'");
}

// Enables access to the memory of the other devices; returns whether that is possible for all.
bool reach(int device, const std::vector<int>& devices) {
  for (const int other : devices) {
    if (other == device) continue;
    int possible = 0;
    JAXMG_CHECK(cudaDeviceCanAccessPeer(&possible, device, other));
    if (possible == 0) return false;
    const cudaError_t enabled = cudaDeviceEnablePeerAccess(other, 0);
    if (enabled == cudaErrorPeerAccessAlreadyEnabled) {
      cudaGetLastError();  // XLA did it
    } else {
      JAXMG_CHECK(enabled);
    }
  }
  return true;
}

}  // namespace

Team::Team(const Roll& roll, bool one_process, bool peers)
    : one_process_(one_process), peers_(peers), seats_(static_cast<std::size_t>(roll.ranks())) {
  if (!one_process_) {
    static_assert(sizeof(nccl_id_) == sizeof(RollEntry::nccl_id));
    std::memcpy(&nccl_id_, roll.entry(0).nccl_id.data(), sizeof(nccl_id_));
  }
}

void Team::take_seat(Attendance& attendance, std::chrono::milliseconds timeout) {
  const int rank = attendance.rank();
  Seat& own = seat(rank);
  if (own.transport) return;  // seats are taken by all ranks in the same call
  JAXMG_CHECK(cudaGetDevice(&own.device));
  own.lanes = std::make_unique<Lanes>();
  own.flags = std::make_unique<PeerFlags>(ranks());
  attendance.barrier();
  bool peers = peers_;
  if (peers_) {
    std::vector<int> devices;
    for (const Seat& s : seats_) devices.push_back(s.device);
    own.reaches_peers = reach(own.device, devices);
    attendance.barrier();
    peers = std::all_of(seats_.begin(), seats_.end(), [](const Seat& s) { return s.reaches_peers; });
  }
  if (peers) {
    std::vector<PeerFlags*> flags;
    for (const Seat& s : seats_) flags.push_back(s.flags.get());
    own.transport = std::make_unique<PeerTransport>(rank, std::move(flags));
  } else {
    if (one_process_ && rank == 0) JAXMG_CHECK(ncclGetUniqueId(&nccl_id_));
    attendance.barrier();
    own.transport = std::make_unique<NcclTransport>(attendance, ranks(), nccl_id_, timeout);
  }
  attendance.barrier();
}

std::shared_ptr<Team> Team::acquire(const Roll& roll) {
  Devices devices;
  for (int r = 0; r < roll.ranks(); ++r) devices.emplace_back(roll.entry(r).process, roll.entry(r).device);
  const bool one_process =
      std::all_of(devices.begin(), devices.end(), [&](const auto& device) { return device.first == devices[0].first; });
  const bool peers = one_process && !nccl_is_asked_for();
  std::unique_ptr<Team> team;
  {
    std::lock_guard lock(registry().mutex);
    auto& idle = registry().idle[{devices, peers}];
    if (!idle.empty()) {
      team = std::move(idle.back());
      idle.pop_back();
    }
  }
  if (!team) team = std::make_unique<Team>(roll, one_process, peers);
  return {team.release(), [devices, peers](Team* done) {
            std::unique_ptr<Team> owned(done);
            if (owned->retired()) return;
            std::lock_guard lock(registry().mutex);
            registry().idle[{devices, peers}].push_back(std::move(owned));
          }};
}

}  // namespace jaxmg::cuda
