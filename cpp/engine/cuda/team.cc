#include "engine/cuda/team.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "engine/cuda/check.h"

namespace jaxmg::cuda {
namespace {

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Values of XLA_PYTHON_CLIENT_ALLOCATOR.
bool frees_each_buffer(const std::string& allocator) { return allocator == "platform" || allocator == "vmm"; }

bool nccl_is_requested() {
  const std::string requested = variable("JAXMG_TRANSPORT");
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

// The first refusal of a rank, with its number; empty if there is none.
std::string first_of(const std::vector<Refusal>& refusals) {
  for (std::size_t r = 0; r < refusals.size(); ++r) {
    if (refusals[r]) return "rank " + std::to_string(r) + ": " + refusals[r].text.data();
  }
  return "";
}

// A record of each rank: of this process's ranks after a barrier, of the others through links.
template <class Record>
std::vector<Record> gather(Participant& participant, ProcessLinks& links, std::vector<RankResources>& resources,
                           Record RankResources::*record) {
  std::vector<Record> all(resources.size());
  links.gather(resources[static_cast<std::size_t>(participant.rank())].*record, all);
  participant.barrier();
  for (const int r : participant.members()) {
    all[static_cast<std::size_t>(r)] = resources[static_cast<std::size_t>(r)].*record;
  }
  return all;
}

// How the processes exchanged blocks in the last call.
class LastExchange {
 public:
  // Logs each change away from peer writes, which costs speed.
  void set(const std::string& how, bool log) {
    std::lock_guard lock(mutex_);
    if (log && how != how_) std::fprintf(stderr, "jaxmg: %s\n", how.c_str());
    how_ = how;
  }
  std::string get() {
    std::lock_guard lock(mutex_);
    return how_;
  }
  static LastExchange& instance() {
    static auto* const last = new LastExchange;
    return *last;
  }

 private:
  std::mutex mutex_;
  std::string how_;
};

constexpr const char* by_request = "JAXMG_TRANSPORT=nccl";
constexpr const char* several_hosts = "the ranks are on several hosts";

}  // namespace

std::string last_exchange_between_processes() { return LastExchange::instance().get(); }

void RankResources::abandon() noexcept {
  for (const auto& entry : residents) entry.second->abandon();
  while (true) {
    if (peers) peers->abandon();
    if (nccl) nccl->abandon();
    if (!lanes || lanes->idle()) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

Team::Team(const Roll& roll, bool one_process, bool peers)
    : roll_(roll), one_process_(one_process), peers_(peers), resources_(static_cast<std::size_t>(roll.ranks())) {
  if (!one_process_) {
    static_assert(sizeof(nccl_id_) == sizeof(RollEntry::nccl_id));
    std::memcpy(&nccl_id_, roll.entry(0).nccl_id.data(), sizeof(nccl_id_));
  }
}

Team::~Team() {
  if (one_process_ || !retired_) return;
  // A process may have ended: its memory is freed when no other process has it mapped.
  for (int r = 0; r < ranks(); ++r) {
    if (roll_.entry(r).process != process_nonce()) forget_process(roll_.entry(r).process);
  }
}

void Team::create_resources(Participant& participant, ProcessLinks* links, std::chrono::milliseconds timeout) {
  RankResources& own = resources(participant.rank());
  if (own.lanes) return;  // all ranks create their resources in the same call
  JAXMG_CHECK(cudaGetDevice(&own.device));
  own.lanes = std::make_unique<Lanes>();
  if (one_process_) {
    create_transport(participant, timeout);
  } else {
    share_board(participant, *links);
  }
  participant.barrier();
}

void Team::create_transport(Participant& participant, std::chrono::milliseconds timeout) {
  RankResources& own = resources(participant.rank());
  own.flags = std::make_unique<DeviceFlags>(ranks());
  participant.barrier();
  own.neighbours = static_cast<int>(std::count_if(resources_.begin(), resources_.end(),
                                                  [&](const RankResources& s) { return s.device == own.device; }));
  bool peers = peers_;
  if (peers_) {
    std::vector<int> devices;
    for (const RankResources& s : resources_) devices.push_back(s.device);
    own.reaches_peers = reach(own.device, devices);
    participant.barrier();
    peers = std::all_of(resources_.begin(), resources_.end(), [](const RankResources& s) { return s.reaches_peers; });
  }
  if (peers) {
    std::vector<PeerFlags> flags;
    for (const RankResources& s : resources_) flags.push_back(s.flags->get());
    own.peers = std::make_unique<PeerTransport>(participant.rank(), std::move(flags));
    own.transport = own.peers.get();
  } else {
    if (participant.rank() == 0) JAXMG_CHECK(ncclGetUniqueId(&nccl_id_));
    participant.barrier();
    own.nccl = std::make_unique<NcclTransport>(participant, ranks(), nccl_id_, timeout);
    own.transport = own.nccl.get();
  }
}

// Rank 0 creates the memory for the flags, and the first rank of each process maps it.
void Team::share_board(Participant& participant, ProcessLinks& links) {
  const int rank = participant.rank();
  RankResources& own = resources(rank);
  const bool first = rank == participant.members().front();
  std::string why;
  if (nccl_is_requested()) {
    why = by_request;
  } else if (!links.out_of_reach().empty()) {
    why = several_hosts;
  } else if (frees_each_buffer(variable("XLA_PYTHON_CLIENT_ALLOCATOR"))) {
    why = "XLA_PYTHON_CLIENT_ALLOCATOR=" + variable("XLA_PYTHON_CLIENT_ALLOCATOR") +
          " frees each buffer, which the other processes would keep mapped";
  }
  FileDescriptor file, received;
  const std::int64_t bytes = PeerBoard::bytes(ranks());
  try {
    if (rank == 0) file = SharedMemory::create_file(bytes);
  } catch (const Error& error) {
    why = error.what();
  }
  received = links.share_file(0, file);
  try {
    if (first) {
      const FileDescriptor& given = rank == 0 ? file : received;
      if (given) board_ = std::make_unique<RegisteredMemory>(given, bytes);
    }
  } catch (const Error& error) {
    why = error.what();
  }
  participant.barrier();
  std::vector<int> devices;
  for (const int r : participant.members()) devices.push_back(resources(r).device);
  try {
    if (why.empty() && !board_) why = "no memory is shared with rank 0";
    if (why.empty() && !reach(own.device, devices))
      why = "the GPUs of its process have no access to each other's memory";
    if (why.empty()) {
      const PeerBoard board(ranks(), board_->data(), board_->on_device());
      std::vector<PeerFlags> flags;
      for (int r = 0; r < ranks(); ++r) flags.push_back(board.of(r));
      own.peers = std::make_unique<PeerTransport>(rank, std::move(flags));
    }
  } catch (const Error& error) {
    why = error.what();
  }
  JAXMG_CHECK(cudaDeviceGetPCIBusId(own.address.text.data(), static_cast<int>(own.address.text.size()), own.device));
  const std::vector<DeviceAddress> addresses = gather(participant, links, resources_, &RankResources::address);
  for (const DeviceAddress& address : addresses) {
    own.neighbours =
        std::max(own.neighbours, static_cast<int>(std::count(addresses.begin(), addresses.end(), address)));
  }
  own.setup = Refusal(why);
  const std::string refused = first_of(gather(participant, links, resources_, &RankResources::setup));
  participant.barrier();  // all ranks of this process have read the records
  own.setup = Refusal(refused);
}

// Returns why a rank cannot access all buffers, or an empty text: the same on all ranks.
std::string Team::map_offers(Participant& participant, ProcessLinks& links, const std::vector<IpcOffer>& offers,
                             ReachedBuffers& reached) {
  RankResources& own = resources(participant.rank());
  std::vector<MappedBuffers> mapped(resources_.size());
  std::vector<FileSet> needed(resources_.size());
  std::vector<std::vector<FileDescriptor>> files(resources_.size());
  // Returns the files that each rank must send.
  const auto map_all = [&](Refusal& refusal) {
    std::vector<FileSet> missing(resources_.size());
    refusal = {};
    for (int r = 0; r < ranks() && !refusal; ++r) {
      const auto at = static_cast<std::size_t>(r);
      const RollEntry& other = roll_.entry(r);
      if (other.process == process_nonce()) continue;
      try {
        const auto sent = static_cast<std::size_t>(std::popcount(needed[at]));
        if (files[at].size() != sent) {
          throw Error(ErrorCode::resource_exhausted, std::to_string(files[at].size()) + " of its " +
                                                         std::to_string(sent) +
                                                         " open files were received; does this process have too many?");
        }
        missing[at] = mapped[at].add({other.process, other.device}, offers[at], needed[at], files[at]);
      } catch (const Error& error) {
        refusal = Refusal("no access to the memory of rank " + std::to_string(r) + ": " + error.what());
      }
    }
    return missing;
  };

  std::vector<FileSet> missing = map_all(own.mapping.refusal);
  own.mapping.needs_files = std::any_of(missing.begin(), missing.end(), [](FileSet set) { return set != 0; });
  bool files_are_needed = false;
  std::vector<Refusal> refusals;
  for (const Mapping& mapping : gather(participant, links, resources_, &RankResources::mapping)) {
    refusals.push_back(mapping.refusal);
    files_are_needed = files_are_needed || mapping.needs_files;
  }
  std::string refused = first_of(refusals);
  if (refused.empty() && files_are_needed) {
    needed = std::move(missing);
    std::vector<FileSet> wanted(resources_.size());
    links.swap(needed, wanted);
    std::vector<std::vector<int>> sent(resources_.size());
    for (std::size_t r = 0; r < sent.size(); ++r) {
      for (std::size_t f = 0; f < own.files.size(); ++f) {
        if ((wanted[r] >> f & 1) != 0) sent[r].push_back(own.files[f]->get());
      }
    }
    files = links.swap_files(sent);
    map_all(own.completion);
    refused = first_of(gather(participant, links, resources_, &RankResources::completion));
  }
  own.files.clear();
  for (std::size_t r = 0; refused.empty() && r < mapped.size(); ++r) {
    if (roll_.entry(static_cast<int>(r)).process == process_nonce()) continue;
    reached.regions[r] = std::move(mapped[r].regions);
    reached.mappings.insert(reached.mappings.end(), mapped[r].mappings.begin(), mapped[r].mappings.end());
  }
  return refused;
}

ReachedBuffers Team::reach_buffers(Participant& participant, ProcessLinks* links) {
  const int rank = participant.rank();
  RankResources& own = resources(rank);
  ReachedBuffers reached{std::vector<MemoryRegions>(resources_.size()), {}};
  for (const int r : participant.members()) reached.regions[static_cast<std::size_t>(r)] = participant.buffers(r);
  if (one_process_) return reached;

  std::string refused = own.setup.text.data();
  if (refused.empty()) {
    own.offer = offer_buffers(participant.buffers(rank), own.files);
    const std::vector<IpcOffer> offers = gather(participant, *links, resources_, &RankResources::offer);
    std::vector<Refusal> refusals;
    for (const IpcOffer& offer : offers) refusals.push_back(offer.refusal);
    refused = first_of(refusals);
    if (refused.empty()) refused = map_offers(participant, *links, offers, reached);
  }
  own.transport = refused.empty() ? own.peers.get() : nullptr;
  if (rank == participant.members().front()) {
    const bool expected = refused.ends_with(by_request) || refused.ends_with(several_hosts);
    LastExchange::instance().set(
        refused.empty() ? "the GPUs of several processes write to each other's memory (CUDA IPC)"
                        : "the GPUs of several processes exchange through NCCL instead of CUDA IPC. " + refused,
        !refused.empty() && !expected);
  }
  return reached;
}

Transport& Team::connect(Participant& participant, std::chrono::milliseconds timeout) {
  RankResources& own = resources(participant.rank());
  if (own.transport == nullptr) {
    if (!own.nccl) own.nccl = std::make_unique<NcclTransport>(participant, ranks(), nccl_id_, timeout);
    own.transport = own.nccl.get();
  }
  return *own.transport;
}

std::shared_ptr<Team> Team::acquire(const Roll& roll) {
  static auto* const idle = new IdleTeams<Team>;  // never destroyed: CUDA may be unloaded before statics
  const bool one_process = roll.ranks_of(roll.entry(0).process).size() == static_cast<std::size_t>(roll.ranks());
  const bool peers = one_process && !nccl_is_requested();
  return idle->acquire(roll, peers ? 1 : 0, [&] { return std::make_unique<Team>(roll, one_process, peers); });
}

}  // namespace jaxmg::cuda
